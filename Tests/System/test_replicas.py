"""Replicas that differ or lie: the program always reads the primary's bytes."""

import time

from kwiklab import servers_of, streams_of, wait_until
from kwiktest import LabCase, MEBIBYTE, SERVERS, content, needs_servers, undisturbed

SIZE = 12 * MEBIBYTE


@needs_servers(3)
class LyingReplica(LabCase):
    @classmethod
    def prepare(cls):
        cls.truth = content(SIZE, "truth")
        cls.lab.put("file", cls.truth)
        cls.liar = cls.lab.servers[1]
        cls.lab.put("file", content(SIZE, "lie"), [cls.liar])

    def test_the_primarys_bytes_come_and_the_liar_is_quarantined_after_three(self):
        for number in range(3):
            self.assert_same(self.curl("file"), self.truth)
            streams = streams_of(self.lab.status(), "finished_streams", "streams")
            self.assertEqual(len(streams), number + 1)
            notes = [part["note"] for stream in streams for part in stream["parts"]
                     if part["server"] == self.liar.name]
            self.assertEqual(notes, ["ended: 2 mismatches"] * (number + 1), streams)
        servers = servers_of(self.lab.status())
        self.assertGreater(servers[self.liar.name]["quarantined_s"], 0, servers)
        before = self.carried()
        self.assert_same(self.curl("file"), self.truth)
        after = self.carried()
        gained = after.get(self.liar.name, 0) - before.get(self.liar.name, 0)
        self.assertEqual(gained, 0, "quarantined, and yet it was asked")


@needs_servers(3)
class ReadAhead(LabCase):
    def test_a_gateway_counts_what_its_backend_gave_before_it_was_asked_for(self):
        truth = content(SIZE, "ahead")
        self.lab.put("file", truth)
        self.assert_same(self.curl("file"), truth)

        def counts():
            each = [self.lab.counters(server) for server in self.lab.servers]
            return [sum(one[name] for one in each)
                    for name in ("bytes_leased", "bytes_read_ahead", "bytes_resent")]
        wait_until(lambda: counts()[0] > SIZE // 10, "leased bytes of a stream that has ended")
        leased, ahead, resent = counts()
        self.assertIn(ahead, range(1, leased + 1))
        # What is sent again is a loss's or a late lease's.
        self.assertLess(resent, SIZE)
        primary = streams_of(self.lab.status_of(self.lab.servers[0]), "finished_streams")[-1]
        self.assertEqual([part["role"] for part in primary["parts"]], ["primary"])
        # It read all of the answer, its header too, and sent what was not leased from others.
        self.assertGreaterEqual(primary["sent_bytes"], SIZE)


@needs_servers(3)
class DifferingReplicas(LabCase):
    """Each server's header has a value of its own: same length on one, another length on the other."""

    @classmethod
    def prepare(cls):
        cls.truth = content(SIZE, "differing")
        cls.lab.put("file", cls.truth)
        for server, value in zip(cls.lab.servers, ("aaaa", "bbbb", "ccccccc")):
            start = server.start_nginx
            server.start_nginx = lambda start=start, value=value: start(f"add_header X-Served-By {value};")

    def test_the_answer_is_the_primarys(self):
        got = self.assert_served(lambda: self.curl("file", "-i"), SIZE)
        self.assertIn(b"X-Served-By: aaaa\r\n", got[:1000])
        self.assert_same(got[got.index(b"\r\n\r\n") + 4:], self.truth)

    def test_a_header_of_the_same_length_keeps_the_replica(self):
        def given():
            before = self.carried().get(self.lab.servers[1].name, 0)
            self.assert_same(self.curl("file"), self.truth)
            return self.carried().get(self.lab.servers[1].name, 0) - before
        undisturbed(given, lambda count: count > SIZE // 10, "bytes of the replica")


@needs_servers(3)
class ShiftedReplicas(LabCase):
    """Each server sets a cookie of another length, so that all that follows stands elsewhere."""

    LENGTHS = (20, 33, 7)

    @classmethod
    def prepare(cls):
        cls.truth = content(SIZE, "shifted")
        cls.lab.put("file", cls.truth)
        for server, length in zip(cls.lab.servers, cls.LENGTHS):
            cookie = f'add_header Set-Cookie "id={length * "k"}; Path=/";'
            server.start_nginx = lambda start=server.start_nginx, cookie=cookie: start(cookie)

    def replicas(self):
        """Of the last stream: by server, the shift, what it gave, and its note."""
        wait_until(lambda: not self.streams(), "the stream's end")
        stream = streams_of(self.lab.status(), "finished_streams", "streams")[-1]
        return {part["server"]: (part["shift"], part["bytes"], part["note"]) for part in stream["parts"]
                if part["role"] == "replica"}

    def assert_shifted(self, responses):
        """The least that one of the replicas gave."""
        quarantined = servers_of(self.lab.status())
        replicas = self.replicas()
        for server, length in zip(self.lab.servers[1:], self.LENGTHS[1:]):
            shift, _, note = replicas[server.name]
            self.assertEqual(shift, responses * (length - self.LENGTHS[0]), replicas)
            self.assertEqual(note, "ended: stream done", replicas)
            self.assertEqual(quarantined[server.name]["trust"], 1, quarantined)
        return min(count for _, count, _ in replicas.values())

    def test_their_bytes_are_found_where_they_stand(self):
        def given():
            shifted = self.lab.status()["counters"]["replicas_shifted"]
            got = self.assert_served(lambda: self.curl("file", "-i"), SIZE, servers=3)
            self.assertIn(b"\r\nSet-Cookie: id=kkkkkkkkkkkkkkkkkkkk; Path=/\r\n", got[:1000])
            self.assert_same(got[got.index(b"\r\n\r\n") + 4:], self.truth)
            least = self.assert_shifted(1)
            self.assertEqual(self.lab.status()["counters"]["replicas_shifted"], shifted + 2)
            return least
        undisturbed(given, lambda count: count > SIZE // 6, "bytes of either replica")

    def test_on_a_kept_connection_each_answer_shifts_by_as_much_again(self):
        def given():
            got = self.assert_served(lambda: self.curl("file", self.lab.url("file")), 2 * SIZE, servers=3)
            self.assert_same(got, 2 * self.truth)
            return self.assert_shifted(2)
        undisturbed(given, lambda count: count > 2 * SIZE // 6, "bytes of either replica")


@needs_servers(3)
class ReplicaThatEnds(LabCase):
    """A replica whose file is shorter, and one that has none at all."""

    @classmethod
    def prepare(cls):
        cls.truth = content(SIZE, "ends")
        cls.lab.put("file", cls.truth)
        cls.lab.put("file", cls.truth[:SIZE // 2], [cls.lab.servers[1]])
        (cls.lab.servers[2].files / "file").unlink()

    def test_the_download_is_whole(self):
        self.assert_same(self.curl("file"), self.truth)


@needs_servers(3)
class ReplicaWithoutBackend(LabCase):
    @classmethod
    def prepare(cls):
        cls.truth = content(SIZE, "backend")
        cls.lab.put("file", cls.truth)

    def test_a_replica_whose_backend_refuses_harms_nobody(self):
        self.lab.servers[1].backend.kill()

        def seconds():
            # One that knows nothing of it yet.
            self.lab.start_engine(service={"policy": self.policy})
            begun = time.monotonic()
            self.assert_same(self.curl("file"), self.truth)
            return time.monotonic() - begun
        # Nothing waits for it.
        ideal = SIZE * 8 / (SERVERS - 1) / 40e6
        undisturbed(seconds, lambda took: took < 2 * ideal + 1, "seconds of a download")
