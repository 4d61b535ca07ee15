"""Joins this network namespace and another by a link of a set rate and delay: slow_link.py NETNS MBIT RTT_MS

Two TUN devices, with this program between them, because not every kernel has the queueing discipline for delays (netem). Each way has a
queue of its own, which drops what would wait for more than a fifth of a second, as a line's buffer does. 10.77.0.1 is this side,
10.77.0.2 the other. Prints "ready"; ends, and takes the devices away, when its standard input does.
"""
import fcntl
import heapq
import os
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
QUEUE_SECONDS = 0.2


def open_tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def main():
    netns, rate, rtt_ms = sys.argv[1], float(sys.argv[2]) * 1e6 / 8, float(sys.argv[3])
    delay = rtt_ms / 2000
    here, there = open_tun(f"lmh{os.getpid()}"), open_tun(f"lmt{os.getpid()}")
    ip("link", "set", f"lmt{os.getpid()}", "netns", netns)
    ip("addr", "add", "10.77.0.1/24", "dev", f"lmh{os.getpid()}")
    ip("link", "set", f"lmh{os.getpid()}", "up")
    ip("-n", netns, "addr", "add", "10.77.0.2/24", "dev", f"lmt{os.getpid()}")
    ip("-n", netns, "link", "set", f"lmt{os.getpid()}", "up")
    ip("-n", netns, "link", "set", "lo", "up")
    print("ready", flush=True)
    free = {here: 0.0, there: 0.0}
    under_way = []
    count = 0
    poller = select.poll()
    for fd in (here, there, 0):
        poller.register(fd, select.POLLIN)
    while True:
        wait = None if not under_way else max(0.0, under_way[0][0] - time.monotonic()) * 1000
        # poll(2) counts milliseconds; the last one is spun away.
        ready = poller.poll(None if wait is None else int(wait))
        now = time.monotonic()
        for fd, _ in ready:
            if fd == 0:
                if os.read(0, 64) == b"":
                    return
                continue
            while True:
                try:
                    packet = os.read(fd, 65536)
                except BlockingIOError:
                    break
                leaves = max(now, free[fd]) + len(packet) / rate
                if leaves - now > QUEUE_SECONDS:
                    continue
                free[fd] = leaves
                count += 1
                heapq.heappush(under_way, (leaves + delay, count, there if fd == here else here, packet))
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, _, fd, packet = heapq.heappop(under_way)
            try:
                os.write(fd, packet)
            except OSError:
                pass


main()
