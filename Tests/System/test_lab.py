"""The lab that the other tests stand on."""

import unittest

from kwiklab import free_ports


class Ports(unittest.TestCase):
    def test_none_is_given_out_twice(self):
        given = [port for _ in range(1000) for port in free_ports(3)]
        self.assertEqual(len(set(given)), len(given))
