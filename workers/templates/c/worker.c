// A CGI program (WAGI): the request is in the environment, its body on stdin; head, empty line and body go to stdout.
#include <stdio.h>
#include <stdlib.h>

static const char *variable(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value ? value : otherwise;
}

int main(void) {
  printf("Content-Type: text/plain; charset=utf-8\n\n");
  printf("hello %s, this is %s\n", variable("HTTP_X_EDGE_CLIENT_CITY", "the world"), variable("EDGESIM_POP", "nowhere"));
}
