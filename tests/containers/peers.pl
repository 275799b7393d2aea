# Connects as it is told, one command a line, and answers each with a line: `ok`, a number, or what went wrong.
#   move DIRECTORY             into that control group
#   connect NAME ADDRESS PORT  and keeps it under the name
#   start NAME ADDRESS PORT    the same without waiting
#   many ADDRESS PORT COUNT    that many, each closed at once by a reset
#   talk ADDRESS PORT COUNT BYTES  that many one after the other, each sends so much and is closed in order
#   scan FIRST COUNT PORT      one to each of that many addresses
#   send NAME BYTES, close NAME, reset NAME
#   give NAME DIRECTORY        to a child, which goes into that control group and closes it
#   listen ADDRESS PORT        and says the port
#   sockaddr ADDRESS PORT      keeps such an address in memory, and says where
#   datagrams ADDRESS PORT     connects a socket of UDP
#   forbid                     every connection from now on, by Landlock
use strict;
use warnings;
use Socket qw(:DEFAULT inet_pton inet_aton pack_sockaddr_in6 unpack_sockaddr_in6 AF_INET6 IPPROTO_TCP);
use Errno qw(EINPROGRESS);
use Fcntl;
$| = 1;
my %open;
sub move {
    open(my $file, '>', "$_[0]/cgroup.procs") or die "$_[0]: $!\n";
    print $file "$$\n";
    close($file) or die "$_[0]: $!\n";
}
sub at {
    my ($address, $port) = @_;
    return $address =~ /:/ ? (AF_INET6, pack_sockaddr_in6($port, inet_pton(AF_INET6, $address)))
        : (AF_INET, pack_sockaddr_in($port, inet_aton($address)));
}
sub reset_of { setsockopt($_[0], SOL_SOCKET, SO_LINGER, pack("ii", 1, 0)) or die "linger: $!\n"; close($_[0]) }
sub connected {
    my ($address, $port, $wait) = @_;
    my ($family, $to) = at($address, $port);
    socket(my $socket, $family, SOCK_STREAM, 0) or die "socket: $!\n";
    fcntl($socket, F_SETFL, O_NONBLOCK) unless $wait;
    connect($socket, $to) or $! == EINPROGRESS or return (undef, $! + 0);
    return $socket;
}
sub act {
    my ($command, @a) = @_;
    if ($command eq 'move') { move($a[0]) }
    elsif ($command eq 'connect' or $command eq 'start') {
        my ($socket, $error) = connected($a[1], $a[2], $command eq 'connect');
        return $error unless $socket;
        $open{$a[0]} = $socket;
    }
    elsif ($command eq 'many') {
        for (1 .. $a[2]) {
            my ($socket, $error) = connected($a[0], $a[1], 1);
            return $error unless $socket;
            reset_of($socket);
        }
    }
    elsif ($command eq 'talk') {
        for (1 .. $a[2]) {
            my ($socket, $error) = connected($a[0], $a[1], 1);
            return $error unless $socket;
            syswrite($socket, 'x' x $a[3]) == $a[3] or die "send: $!\n";
            close($socket);
        }
    }
    elsif ($command eq 'scan') {
        my $first = unpack('N', inet_aton($a[0]));
        for my $more (0 .. $a[1] - 1) {
            socket(my $socket, AF_INET, SOCK_STREAM, 0) or die "socket: $!\n";
            connect($socket, pack_sockaddr_in($a[2], pack('N', $first + $more)));
        }
    }
    elsif ($command eq 'send') { syswrite($open{$a[0]}, 'x' x $a[1]) == $a[1] or die "send: $!\n" }
    elsif ($command eq 'close') { close(delete $open{$a[0]}) }
    elsif ($command eq 'reset') { reset_of(delete $open{$a[0]}) }
    elsif ($command eq 'give') {
        my $socket = delete $open{$a[0]};
        pipe(my $read, my $write);
        my $child = fork();
        if (!$child) {
            move($a[1]);
            my $wait = <$read> if close($write);
            close($socket);
            exit 0;
        }
        close($socket);
        close($write);
        waitpid($child, 0);
    }
    elsif ($command eq 'listen') {
        my ($family, $to) = at(@a);
        socket(my $socket, $family, SOCK_STREAM, 0) or die "socket: $!\n";
        bind($socket, $to) or die "bind: $!\n";
        listen($socket, 100) or die "listen: $!\n";
        my $name = getsockname($socket);
        my ($port) = $family == AF_INET ? unpack_sockaddr_in($name) : unpack_sockaddr_in6($name);
        $open{$port} = $socket;
        return $port;
    }
    elsif ($command eq 'sockaddr') {
        (undef, our $kept) = at(@a);
        return unpack('Q', pack('P', $kept));
    }
    elsif ($command eq 'datagrams') {
        my ($family, $to) = at(@a);
        socket(my $socket, $family, SOCK_DGRAM, 0) or die "socket: $!\n";
        connect($socket, $to) or return $! + 0;
    }
    elsif ($command eq 'forbid') {
        # landlock_create_ruleset(2) with LANDLOCK_ACCESS_NET_CONNECT_TCP, and landlock_restrict_self(2).
        my $access = pack('QQ', 0, 2);
        my $rules = syscall(444, $access, length $access, 0);
        $rules >= 0 and syscall(446, $rules, 0) == 0 or return "no Landlock: $!";
    }
    else { die "what is $command?\n" }
    return 'ok';
}
while (my $line = <STDIN>) {
    my $said = eval { act(split(' ', $line)) };
    $said = "failed: $@" unless defined $said;
    chomp $said;
    print "$said\n";
}
