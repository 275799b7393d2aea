# Makes sockets by the words of its arguments, in their order, and says `done` after the last. Holds what is open until it
# is ended.
#   listen PORT            listens on 127.0.0.1
#   listen6 PORT           listens on ::1
#   open PORT N            opens N connections to the port of 127.0.0.1, accepts them and sends a byte each way
#   open6 PORT N           the same over ::1
#   shut N                 this end of N connections that are open says that it is done
#   close N                both ends of N close, this one first
#   reset N                this end of N is closed by a reset
#   refused PORT N         N attempts that are refused
#   unanswered PORT SECONDS one attempt to which nobody says anything
#   until FILE             waits until there is this file, and says `waiting` before
#   udp PORT               binds a socket of UDP on 127.0.0.1
#   mark NUMBER            what follows has this mark
#   device NAME            what follows is bound to this interface
use strict;
use warnings;
use Socket qw(:DEFAULT inet_pton pack_sockaddr_in6 IPPROTO_TCP AF_INET6);
use Errno qw(ECONNREFUSED EINPROGRESS);

$| = 1;
my (%listener, @open, @held, $mark, $device);

sub fresh {
    my ($family, $kind) = @_;
    socket(my $socket, $family, $kind, 0) or die "socket: $!";
    setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1) or die "reuse: $!";
    if (defined $mark) { setsockopt($socket, SOL_SOCKET, 36, pack("i", $mark)) or die "mark: $!" }
    if (defined $device) { setsockopt($socket, SOL_SOCKET, 25, $device) or die "device: $!" }
    return $socket;
}
sub address {
    my ($family, $port) = @_;
    return $family == AF_INET ? pack_sockaddr_in($port, inet_aton("127.0.0.1"))
        : pack_sockaddr_in6($port, inet_pton(AF_INET6, "::1"));
}
sub listening {
    my ($family, $port) = @_;
    my $socket = fresh($family, SOCK_STREAM);
    bind($socket, address($family, $port)) or die "bind: $!";
    listen($socket, 64) or die "listen: $!";
    $listener{"$family $port"} = $socket;
}
sub opened {
    my ($family, $port, $count) = @_;
    for (1 .. $count) {
        my $client = fresh($family, SOCK_STREAM);
        connect($client, address($family, $port)) or die "connect: $!";
        accept(my $server, $listener{"$family $port"}) or die "accept: $!";
        for ([$client, $server], [$server, $client]) {
            syswrite($_->[0], "x") or die "write: $!";
            sysread($_->[1], my $byte, 1) or die "read: $!";
        }
        push @open, [$client, $server];
    }
}
sub failing {
    my ($port) = @_;
    my $socket = fresh(AF_INET, SOCK_STREAM);
    connect($socket, address(AF_INET, $port)) and die "port $port is not closed";
    $! == ECONNREFUSED or die "connect: $!";
}

while (defined(my $word = shift @ARGV)) {
    if ($word eq "listen") { listening(AF_INET, shift @ARGV) }
    elsif ($word eq "until") {
        print "waiting\n";
        my $file = shift @ARGV;
        select(undef, undef, undef, 0.1) until -e $file;
    } elsif ($word eq "listen6") { listening(AF_INET6, shift @ARGV) }
    elsif ($word eq "open") { opened(AF_INET, shift @ARGV, shift @ARGV) }
    elsif ($word eq "open6") { opened(AF_INET6, shift @ARGV, shift @ARGV) }
    elsif ($word eq "shut") {
        for (1 .. shift @ARGV) { my $pair = shift @open; shutdown($pair->[0], 1); push @held, $pair }
    } elsif ($word eq "close") {
        for (1 .. shift @ARGV) {
            my $pair = shift @open;
            close $pair->[0];
            # The end that is told, and closes after it.
            sysread($pair->[1], my $byte, 1);
            close $pair->[1];
        }
    } elsif ($word eq "reset") {
        for (1 .. shift @ARGV) {
            my $pair = shift @open;
            setsockopt($pair->[0], SOL_SOCKET, SO_LINGER, pack("ii", 1, 0)) or die "linger: $!";
            close $pair->[0];
            sysread($pair->[1], my $byte, 1);
            close $pair->[1];
        }
    } elsif ($word eq "refused") { my $port = shift @ARGV; failing($port) for 1 .. shift @ARGV }
    elsif ($word eq "unanswered") {
        my $socket = fresh(AF_INET, SOCK_STREAM);
        # SOCK_NONBLOCK by fcntl (F_SETFL, O_NONBLOCK).
        fcntl($socket, 4, 2048) or die "fcntl: $!";
        connect($socket, address(AF_INET, shift @ARGV)) and die "it was answered";
        $! == EINPROGRESS or die "connect: $!";
        sleep shift @ARGV;
    } elsif ($word eq "udp") {
        my $socket = fresh(AF_INET, SOCK_DGRAM);
        bind($socket, address(AF_INET, shift @ARGV)) or die "bind: $!";
        push @held, $socket;
    } elsif ($word eq "mark") { $mark = shift @ARGV }
    elsif ($word eq "device") { $device = shift @ARGV }
    else { die "what is $word?" }
}
print "done\n";
sleep 600;
