"""A capture of known packets for the tests of sampling: what is in it is summed while it is written."""
import ipaddress
import random
import struct


class Workload:
    """`packets` packets of `flows` UDP flows over IPv4, of lengths from 60 to 1514 octets, in the pcap file `path`.
    frames: {flow key: [packets, octets of IP]}; octets and squares are sums over all packets, of IP packets
    and of frames with their check sequence (fcs_)."""

    SNAP = 64

    def __init__(self, path, packets, flows=200, seed=7):
        draw = random.Random(seed)
        self.packets, self.flows = packets, {}
        self.octets = self.squares = self.fcs_octets = self.fcs_squares = 0
        made = [self._flow(i) for i in range(flows)]
        # some flows are large and some small
        choice = draw.choices(range(flows), weights=[1 / (1 + i) for i in range(flows)], k=packets)
        lengths = (46, 46, 46, 576, 576, 1500)
        with open(path, "wb") as f:
            f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, self.SNAP, 1))
            out = []
            for i, flow in enumerate(choice):
                length = lengths[int(draw.random() * 6)]
                key, frames, count = made[flow]
                count[0] += 1
                count[1] += length
                head = frames[length]
                out.append(struct.pack("<IIII", 1_700_000_000 + i // 200000, i % 200000 * 5, len(head), length + 14) + head)
                self.octets += length
                self.squares += length * length
                self.fcs_octets += length + 18
                self.fcs_squares += (length + 18) ** 2
            f.write(b"".join(out))
        self.flows = {key: count for key, _, count in made if count[0]}

    def _flow(self, i):
        src, dst = f"10.0.{i // 250}.{1 + i % 250}", f"172.16.0.{1 + i % 250}"
        frames = {}
        for length in (46, 576, 1500):
            ip = struct.pack("!BBHHHBBH", 0x45, 0, length, i, 0x4000, 64, 17, 0)
            ip += ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed
            ip += struct.pack("!HHHH", 50000 + i, 40000, length - 20, 0)
            frames[length] = (b"\2\0\0\0\0\1\2\0\0\0\0\2\x08\0" + ip + bytes(length - 28))[:self.SNAP]
        return (src, dst, 17, 50000 + i, 40000), frames, [0, 0]

    def errors(self, n, fcs=False):
        """Standard errors of the scaled totals when each packet is drawn with probability 1 / n: packets, octets."""
        squares = self.fcs_squares if fcs else self.squares
        return (self.packets * (n - 1)) ** 0.5, ((n - 1) * squares) ** 0.5
