//! The conformance guest in Zig: a CGI program on WASI preview 1 without libc. Routes: ../README.md.
const std = @import("std");
const wasi = std.os.wasi;

var memory: [1 << 20]u8 = undefined;
var environ: std.process.EnvMap = undefined;

fn write(fd: wasi.fd_t, data: []const u8) void {
    var rest = data;
    while (rest.len > 0) {
        var n: usize = 0;
        const vec = [1]wasi.ciovec_t{.{ .base = rest.ptr, .len = rest.len }};
        if (wasi.fd_write(fd, &vec, 1, &n) != .SUCCESS) wasi.proc_exit(1);
        rest = rest[n..];
    }
}

fn print(fd: wasi.fd_t, comptime format: []const u8, values: anytype) void {
    var line: [256]u8 = undefined;
    write(fd, std.fmt.bufPrint(&line, format, values) catch unreachable);
}

fn head(kind: []const u8) void {
    print(1, "Content-Type: {s}\n\n", .{kind});
}

fn variable(name: []const u8) []const u8 {
    return environ.get(name) orelse "";
}

fn parameter(name: []const u8) []const u8 {
    var pairs = std.mem.splitScalar(u8, variable("QUERY_STRING"), '&');
    while (pairs.next()) |pair| {
        if (pair.len > name.len and pair[name.len] == '=' and std.mem.startsWith(u8, pair, name)) return pair[name.len + 1 ..];
    }
    return "";
}

fn number(name: []const u8) u32 {
    return std.fmt.parseInt(u32, parameter(name), 10) catch 0;
}

fn quote(text: []const u8) void {
    write(1, "\"");
    for (text) |*c| {
        if (c.* == '"' or c.* == '\\') write(1, "\\");
        if (c.* >= 0x20) write(1, c[0..1]);
    }
    write(1, "\"");
}

fn environment() void {
    head("application/json");
    write(1, "{");
    var entries = environ.iterator();
    var first = true;
    while (entries.next()) |entry| : (first = false) {
        if (!first) write(1, ",");
        quote(entry.key_ptr.*);
        write(1, ":");
        quote(entry.value_ptr.*);
    }
    write(1, "}");
}

fn copy(from: wasi.fd_t) void {
    var piece: [65536]u8 = undefined;
    while (true) {
        var n: usize = 0;
        const vec = [1]wasi.iovec_t{.{ .base = &piece, .len = piece.len }};
        if (wasi.fd_read(from, &vec, 1, &n) != .SUCCESS or n == 0) return;
        write(1, piece[0..n]);
    }
}

fn stream() void {
    head("application/octet-stream");
    const size = number("size");
    for (0..number("chunks")) |i| {
        if (size > 0) {
            const chunk = memory[memory.len / 2 ..][0..@min(size, memory.len / 2)];
            @memset(chunk, @truncate(i));
            write(1, chunk);
        } else print(1, "chunk {d}\n", .{i});
    }
}

fn timer() void {
    var event: wasi.event_t = undefined;
    var n: usize = 0;
    const subscription = wasi.subscription_t{ .userdata = 0, .u = .{
        .tag = .CLOCK,
        .u = .{ .clock = .{ .id = .MONOTONIC, .timeout = @as(u64, number("ms")) * 1_000_000, .precision = 0, .flags = 0 } },
    } };
    if (wasi.poll_oneoff(&subscription, &event, 1, &n) != .SUCCESS) wasi.proc_exit(1);
    head("text/plain");
    write(1, "waited");
}

pub fn main() void {
    var fixed = std.heap.FixedBufferAllocator.init(memory[0 .. memory.len / 2]);
    environ = std.process.getEnvMap(fixed.allocator()) catch wasi.proc_exit(1);
    const routes = std.StaticStringMap(*const fn () void).initComptime(.{
        .{ "/env", environment },
        .{ "/stream", stream },
        .{ "/timer", timer },
    });
    const path = variable("PATH_INFO");
    if (routes.get(path)) |route| return route();
    if (std.mem.eql(u8, path, "/hello")) {
        head("text/plain");
        write(1, "hello from zig");
    } else if (std.mem.eql(u8, path, "/echo")) {
        const kind = variable("CONTENT_TYPE");
        head(if (kind.len > 0) kind else "application/octet-stream");
        copy(0);
    } else if (std.mem.eql(u8, path, "/status")) {
        print(1, "Status: {d}\nContent-Type: text/plain\n\nas you wish", .{number("code")});
    } else if (std.mem.eql(u8, path, "/random")) {
        var bytes: [16]u8 = undefined;
        if (wasi.random_get(&bytes, bytes.len) != .SUCCESS) wasi.proc_exit(1);
        head("text/plain");
        print(1, "{x}", .{&bytes});
    } else if (std.mem.eql(u8, path, "/log")) {
        for (0..number("n")) |i| print(2, "log line {d}\n", .{i});
        head("text/plain");
        print(1, "{d}", .{number("n")});
    } else if (std.mem.eql(u8, path, "/spin")) {
        while (true) asm volatile ("");
    } else if (std.mem.eql(u8, path, "/trap")) {
        @trap();
    } else if (std.mem.eql(u8, path, "/oom")) {
        while (@wasmMemoryGrow(0, 16) >= 0) {}
        @trap();
    } else write(1, "Status: 404\nContent-Type: text/plain\n\nno such route");
}
