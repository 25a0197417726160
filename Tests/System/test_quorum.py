"""The policy quorum: the primary is lost, and two replicas go on with what they have alike."""

import hashlib
import threading

from demo import Download
from kwiklab import streams_of, wait_until
from kwiktest import MEBIBYTE, RATE, content, needs_servers
from test_failures import SIZE, FailureCase

# A quorum is formed after 200 ms of silence, and its paths start from where they idled.
MAX_GAP_MS = 1500


class QuorumCase(FailureCase):
    policy = "quorum"
    formed = "two replicas in the primary's place"

    def parts(self):
        """Of the last stream: the servers in each role."""
        wait_until(lambda: not streams_of(self.lab.status()), "the stream's end")
        stream = streams_of(self.lab.status(), "finished_streams")[-1]
        roles = {}
        for part in stream["parts"]:
            roles.setdefault(part["role"], set()).add(part["server"])
        return roles

    def names(self, *indices):
        return {self.lab.servers[index].name for index in indices}


class PrimaryLost(QuorumCase):
    def check(self):
        self.assertEqual(self.parts(), {"quorum": self.names(1, 2), "replica": self.names(0)})
        counters = self.lab.status()["counters"]
        self.assertEqual((counters["quorums"], counters["quorum_disagreements"]), (1, 0))
        self.assertEqual(self.lab.engine.text().count(self.formed), 1)

    @needs_servers(3)
    def test_killed_and_the_download_goes_on(self):
        self.assert_goes_on(lambda: self.lab.servers[0].crash(), MAX_GAP_MS, self.check)

    @needs_servers(3)
    def test_silent_and_the_download_goes_on(self):
        self.assert_goes_on(lambda: self.lab.servers[0].silence(), MAX_GAP_MS, self.check)


class OneOfTwoLost(QuorumCase):
    def make_lab(self):
        super().make_lab()
        fourth = self.lab.add_server(max_rate=RATE)
        fourth.service["roles"] = ["replica"]
        self.lab.put("file", self.file, [fourth])
        fourth.start_nginx()
        fourth.start_gateway()
        self.lab.start_engine(service={"policy": self.policy})

    @needs_servers(3)
    def test_a_third_takes_its_place(self):
        def both():
            self.lab.servers[0].crash()
            then = threading.Thread(target=self.lose_second)
            then.start()
            self.addCleanup(then.join)
        self.assert_goes_on(both, MAX_GAP_MS, lambda: self.assertEqual(
            self.parts()["quorum"], self.names(2, 3)))

    def lose_second(self):
        wait_until(lambda: self.formed in self.lab.engine.text(), "a quorum")
        self.lab.servers[1].crash()


class ReplicasDiffer(QuorumCase):
    """Near its end the file of one replica is another: seen when nobody is left to say which is right."""

    @needs_servers(3)
    def test_the_program_sees_an_error_and_no_wrong_byte(self):
        same = SIZE - MEBIBYTE
        self.lab.put("file", self.file[:same] + content(MEBIBYTE, "other"), [self.lab.servers[2]])
        download = Download(self.lab, "file", SIZE, self.lab.servers[0].crash)
        download.run(patience=60)
        self.assertIn("reset", (download.problem or "").lower())
        self.assertLessEqual(download.received, same)
        self.assertEqual(download.digest.digest(),
                         hashlib.sha256(self.file[:download.received]).digest())
        text = self.lab.engine.text()
        self.assertEqual(text.count("two replicas differ: stream ended"), 1, text[-2000:])
        self.assertEqual(self.lab.status()["counters"]["quorum_disagreements"], 1)
