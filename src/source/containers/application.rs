//! What a program is, by its command line (pure): the table, a row each, and how it is read.
//!
//! The words are those of coroot-node-agent, so that what reads `container_application_type` knows them.

/// How a row knows a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MatchedBy {
    /// The end of the program's name, which begins after a separator: `nginx` of `/usr/sbin/nginx` and of `my-nginx`.
    Program(&'static str),
    /// The same, and a part of the command line.
    ProgramWith(&'static str, &'static str),
    /// A part of an argument: the main class of a program in Java.
    Argument(&'static str),
    /// The program's whole name, with a version behind it or without: `python3.11`. What runs programs of others; it is said
    /// where no program of a container is anything else.
    Runtime(&'static str),
}

use MatchedBy::{Argument, Program, ProgramWith, Runtime};

/// The table: the first row that fits says what it is.
const TABLE: &[(MatchedBy, &str)] = &[
    (Argument("org.elasticsearch.bootstrap"), "elasticsearch"),
    (Argument("org.opensearch.bootstrap"), "opensearch"),
    (Argument("kafka.Kafka"), "kafka"),
    (Argument("org.apache.zookeeper.server.quorum.QuorumPeerMain"), "zookeeper"),
    (Argument("org.apache.cassandra.service.CassandraDaemon"), "cassandra"),
    (Argument("org.apache.catalina.startup.Bootstrap"), "tomcat"),
    (ProgramWith("beam.smp", "rabbit"), "rabbitmq"),
    (ProgramWith("beam.smp", "couch"), "couchbase"),
    // A server that was started as a sentinel has it in its title.
    (ProgramWith("redis-server", "[sentinel]"), "redis-sentinel"),
    (Program("redis-server"), "redis"),
    (Program("redis-sentinel"), "redis-sentinel"),
    (Program("valkey-server"), "valkey"),
    (Program("keydb-server"), "keydb"),
    (Program("memcached"), "memcached"),
    (Program("envoy"), "envoy"),
    (Program("mongod"), "mongodb"),
    (Program("mongos"), "mongos"),
    (Program("mysqld"), "mysql"),
    (Program("mariadbd"), "mysql"),
    (Program("pgbouncer"), "pgbouncer"),
    (Program("postgres"), "postgres"),
    (Program("haproxy"), "haproxy"),
    (Program("nginx"), "nginx"),
    (Program("httpd"), "httpd"),
    (Program("traefik"), "traefik"),
    (Program("kubelet"), "kubelet"),
    (Program("kube-apiserver"), "kube-apiserver"),
    (Program("kube-controller-manager"), "kube-controller-manager"),
    (Program("kube-scheduler"), "kube-scheduler"),
    (Program("etcd"), "etcd"),
    (Program("dockerd"), "dockerd"),
    (Program("containerd"), "containerd"),
    (Program("consul"), "consul"),
    (Program("vault"), "vault"),
    (Program("clickhouse-server"), "clickhouse"),
    (Program("asd"), "aerospike"),
    (Program("influxd"), "influxdb"),
    (Program("proxysql"), "proxysql"),
    (Program("cockroach"), "cockroach"),
    (Program("prometheus"), "prometheus"),
    (Program("victoria-metrics"), "victoria-metrics"),
    (Program("victoria-metrics-prod"), "victoria-metrics"),
    (Runtime("php-fpm"), "php"),
    (Runtime("node"), "nodejs"),
    (Runtime("java"), "java"),
    (Runtime("python"), "python"),
    (Runtime("ruby"), "ruby"),
];

/// Types that are reported of one container at most.
pub const MAX_TYPES: usize = 4;

/// The types of a container.
pub type Types = Vec<&'static str>;

/// The types of the programs with these command lines, as `/proc/PID/cmdline` has them: at most four, in the order of the
/// alphabet. What runs programs of others is among them only where nothing else is.
pub fn types<'a>(commands: impl Iterator<Item = &'a [u8]>) -> Types {
    let (mut programs, mut runtimes) = (Types::new(), Types::new());
    for (by, word) in commands.filter_map(row) {
        let of = if matches!(by, Runtime(_)) { &mut runtimes } else { &mut programs };
        if let Err(index) = of.binary_search(&word) {
            of.insert(index, word);
        }
    }
    let mut types = if programs.is_empty() { runtimes } else { programs };
    types.truncate(MAX_TYPES);
    types
}

/// The row of a command line.
fn row(command: &[u8]) -> Option<(MatchedBy, &'static str)> {
    let (title, arguments) = match command.iter().position(|byte| *byte == 0) {
        Some(end) => command.split_at(end),
        None => (command, &[][..]),
    };
    // A program that has set its title: `nginx: master process`, `redis-server *:6379`.
    let program = title.split(u8::is_ascii_whitespace).next()?;
    let program = program.strip_suffix(b":").unwrap_or(program);
    let fits = |by: MatchedBy| match by {
        Program(name) => ends_in(program, name),
        ProgramWith(name, part) => ends_in(program, name) && contains(command, part),
        Argument(part) => contains(arguments, part),
        Runtime(name) => is_runtime(program, name),
    };
    TABLE.iter().copied().find(|(by, _)| fits(*by))
}

/// Whether a name is at the end of a program's, from its beginning or behind something that is neither letter nor digit.
fn ends_in(program: &[u8], name: &str) -> bool {
    let before = program.strip_suffix(name.as_bytes());
    before.is_some_and(|before| !before.last().is_some_and(u8::is_ascii_alphanumeric))
}

fn is_runtime(program: &[u8], name: &str) -> bool {
    let file = program.rsplit(|byte| *byte == b'/').next().unwrap_or(program);
    let version = file.strip_prefix(name.as_bytes());
    version.is_some_and(|version| version.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.'))
}

fn contains(bytes: &[u8], part: &str) -> bool {
    memchr::memmem::find(bytes, part.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::{MAX_TYPES, TABLE, types};

    /// A command line for each row: its words, a title that the program gives itself, or a path.
    const COMMANDS: &[(&str, &str)] = &[
        ("/usr/share/jdk/bin/java -Xms1g org.elasticsearch.bootstrap.Elasticsearch", "elasticsearch"),
        ("/usr/share/jdk/bin/java -cp lib org.opensearch.bootstrap.OpenSearch", "opensearch"),
        ("java -Xmx1G -cp /opt/kafka/libs kafka.Kafka server.properties", "kafka"),
        ("java -cp lib org.apache.zookeeper.server.quorum.QuorumPeerMain zoo.cfg", "zookeeper"),
        ("java -ea org.apache.cassandra.service.CassandraDaemon", "cassandra"),
        ("/opt/java/bin/java -classpath x org.apache.catalina.startup.Bootstrap start", "tomcat"),
        ("/usr/lib/erlang/erts-13/bin/beam.smp -W w -- -root /usr/lib/rabbitmq", "rabbitmq"),
        ("/opt/couchbase/lib/erlang/bin/beam.smp -A 16", "couchbase"),
        ("redis-server\u{20}*:26379\u{20}[sentinel]", "redis-sentinel"),
        ("redis-server\u{20}*:6379", "redis"),
        ("/usr/bin/redis-sentinel /etc/sentinel.conf", "redis-sentinel"),
        ("valkey-server", "valkey"),
        ("/usr/local/bin/keydb-server", "keydb"),
        ("memcached -m 64", "memcached"),
        ("/usr/local/bin/envoy -c /etc/envoy.yaml", "envoy"),
        ("mongod --bind_ip_all", "mongodb"),
        ("mongos --configdb c", "mongos"),
        ("/usr/sbin/mysqld", "mysql"),
        ("mariadbd", "mysql"),
        ("pgbouncer /etc/pgbouncer.ini", "pgbouncer"),
        ("postgres:\u{20}checkpointer", "postgres"),
        ("haproxy -W -db", "haproxy"),
        ("nginx:\u{20}master\u{20}process\u{20}nginx\u{20}-g\u{20}daemon\u{20}off;", "nginx"),
        ("httpd -D FOREGROUND", "httpd"),
        ("/usr/bin/traefik", "traefik"),
        ("/usr/bin/kubelet --config x", "kubelet"),
        ("kube-apiserver --v=2", "kube-apiserver"),
        ("kube-controller-manager", "kube-controller-manager"),
        ("kube-scheduler", "kube-scheduler"),
        ("etcd --name a", "etcd"),
        ("/usr/bin/dockerd -H fd://", "dockerd"),
        ("/usr/bin/containerd", "containerd"),
        ("consul agent", "consul"),
        ("vault server", "vault"),
        ("/usr/bin/clickhouse-server --config-file=x", "clickhouse"),
        ("/usr/bin/asd --foreground", "aerospike"),
        ("influxd", "influxdb"),
        ("/usr/bin/proxysql -f", "proxysql"),
        ("/cockroach/cockroach start", "cockroach"),
        ("/bin/prometheus --config.file=x", "prometheus"),
        ("/opt/victoria-metrics", "victoria-metrics"),
        ("/victoria-metrics-prod -retentionPeriod=1", "victoria-metrics"),
        ("php-fpm:\u{20}pool\u{20}www", "php"),
        ("node server.js", "nodejs"),
        ("/opt/jdk/bin/java -jar app.jar", "java"),
        ("/usr/bin/python3.11 -m http.server", "python"),
        ("ruby2.7 app.rb", "ruby"),
    ];

    /// Words end where an ordinary blank is; that of a title is written as an escape.
    fn command(text: &str) -> Vec<u8> {
        text.replace(' ', "\0").into_bytes()
    }

    fn of(texts: &[&str]) -> Vec<&'static str> {
        let commands: Vec<Vec<u8>> = texts.iter().map(|text| command(text)).collect();
        types(commands.iter().map(Vec::as_slice))
    }

    #[test]
    fn every_row_is_found_by_a_command_line_of_its_program() {
        assert_eq!(COMMANDS.len(), TABLE.len(), "a row has no command line here");
        for ((text, word), (by, of_row)) in COMMANDS.iter().zip(TABLE) {
            assert_eq!(word, of_row, "{by:?}");
            assert_eq!(of(&[text]), [*word], "{text}");
        }
    }

    #[test]
    fn a_name_is_whole_and_a_program_goes_over_what_runs_it() {
        for text in
            ["gasd", "/usr/bin/containerd-shim-runc-v2 -namespace x", "mynginx", "", "some-node", "javac"]
        {
            assert!(of(&[text]).is_empty(), "{text}");
        }
        assert_eq!(of(&["/opt/my-nginx"]), ["nginx"]);
        assert_eq!(of(&["node server.js", "python3"]), ["nodejs", "python"]);
        assert_eq!(of(&["php-fpm: pool", "nginx: worker", "nginx: master"]), ["nginx"]);
        assert_eq!(of(&["sh -c nginx"]), [""; 0], "what is started is another process");
    }

    #[test]
    fn a_container_has_few_types_and_any_bytes_are_a_command_line() {
        let all = of(&["nginx", "redis-server", "etcd", "vault", "consul", "haproxy"]);
        assert_eq!(all, ["consul", "etcd", "haproxy", "nginx"]);
        assert_eq!(all.len(), MAX_TYPES);
        for (text, _) in COMMANDS {
            let bytes = command(text);
            for length in 0..bytes.len() {
                let _any = types(std::iter::once(&bytes[..length]));
            }
        }
        assert!(types([&[0xff, 0, 0xfe][..], &[b' '; 9][..]].into_iter()).is_empty());
    }
}
