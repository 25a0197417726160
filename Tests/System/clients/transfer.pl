# perl: uploads a file with PUT and downloads it on one kept connection, then echoes it over a plain socket.
#     transfer.pl URL FILE ECHO_HOST ECHO_PORT      prints the SHA-256 of the download and of the echo

use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use HTTP::Tiny;
use IO::Socket::INET;

my ($url, $file, $host, $port) = @ARGV;
open(my $input, "<:raw", $file) or die "$file: $!";
my $data = do { local $/; <$input> };

my $client = HTTP::Tiny->new(keep_alive => 1);
my $stored = $client->put($url, { content => $data });
die "PUT: $stored->{status} $stored->{content}" unless $stored->{status} == 201;
my $found = $client->get($url);
die "GET: $found->{status}" unless $found->{status} == 200;
print sha256_hex($found->{content}), "\n";

my $socket = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Proto => "tcp") or die "connect: $@";
my $child = fork() // die "fork: $!";
if ($child == 0) {
    print $socket $data;
    $socket->flush;
    shutdown($socket, 1);
    exit 0;
}
my $echo = do { local $/; <$socket> };
waitpid($child, 0);
print sha256_hex($echo), "\n";
