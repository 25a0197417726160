"""Hours in minutes: downloads one after the other while servers pause, crash and come back."""

import random
import time

from kwiktest import MEBIBYTE, LabCase, content, long, needs_servers

SOAK_SECONDS = 240
# Resident memory that an engine may hold after all that (KiB): windows, retention, connections.
MAX_ENGINE_KIB = 200_000


@long
@needs_servers(3)
class Soak(LabCase):
    rate = "80 Mbit/s"

    @classmethod
    def prepare(cls):
        sizes = (1000, 300_000, 3 * MEBIBYTE, 9 * MEBIBYTE)
        cls.files = {f"file-{size}": content(size, size) for size in sizes}
        for name, data in cls.files.items():
            cls.lab.put(name, data)

    def memory_kib(self):
        with open(f"/proc/{self.lab.engine.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def test_replicas_come_and_go(self):
        chance = random.Random(42)
        ends, rounds = time.monotonic() + SOAK_SECONDS, 0
        while time.monotonic() < ends:
            victim = chance.choice(self.lab.servers[1:])
            harm = chance.choice(("none", "silence", "restart"))
            if harm == "silence":
                victim.silence()
            elif harm == "restart":
                victim.gateway.kill()
            for _ in range(chance.randrange(1, 4)):
                name = chance.choice(list(self.files))
                self.assert_same(self.curl(name), self.files[name])
                rounds += 1
            if harm == "silence":
                victim.resume()
            elif harm == "restart":
                victim.start_gateway()
        self.assertGreater(rounds, 20)
        self.assertTrue(self.lab.engine.alive())
        self.assertLess(self.memory_kib(), MAX_ENGINE_KIB)
