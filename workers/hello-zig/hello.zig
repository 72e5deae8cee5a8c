//! A worker in Zig: a CGI program (WAGI) that says hello from the PoP it runs on. Head, empty line and body go to stdout.
const std = @import("std");

var memory: [256 << 10]u8 = undefined;

pub fn main() !void {
    var fixed = std.heap.FixedBufferAllocator.init(&memory);
    const environment = try std.process.getEnvMap(fixed.allocator());
    var buffer: [4096]u8 = undefined;
    var stdout = std.fs.File.stdout().writer(&buffer);
    const out = &stdout.interface;

    if (std.mem.eql(u8, environment.get("PATH_INFO") orelse "", "/teapot")) {
        try out.writeAll("Status: 418\nContent-Type: text/plain\n\nshort and stout\n");
    } else {
        try out.print("Content-Type: text/plain\n\nhello from {s} v{s}\n", .{
            environment.get("EDGESIM_POP") orelse "nowhere", environment.get("EDGESIM_VERSION") orelse "0",
        });
    }
    try out.flush();
}
