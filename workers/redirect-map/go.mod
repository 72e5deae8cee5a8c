module redirect-map

go 1.21
