//! A CGI program (WAGI): the request is in the environment, its body on stdin; head, empty line and body go to stdout.
const std = @import("std");

var memory: [256 << 10]u8 = undefined;

pub fn main() !void {
    var fixed = std.heap.FixedBufferAllocator.init(&memory);
    const environment = try std.process.getEnvMap(fixed.allocator());
    var buffer: [4096]u8 = undefined;
    var stdout = std.fs.File.stdout().writer(&buffer);
    const out = &stdout.interface;

    try out.writeAll("Content-Type: text/plain; charset=utf-8\n\n");
    try out.print("hello {s}, this is {s}\n", .{
        environment.get("HTTP_X_EDGE_CLIENT_CITY") orelse "the world",
        environment.get("EDGESIM_POP") orelse "nowhere",
    });
    try out.flush();
}
