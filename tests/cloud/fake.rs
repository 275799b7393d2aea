//! A metadata service of the test: answers by method and path, and remembers what it was asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What it does with every request.
#[derive(Debug, Clone)]
pub(crate) enum Mood {
    /// As documented.
    Answers,
    /// The same, each after this time.
    Slow(Duration),
    /// Takes the connection and says nothing.
    Silent,
    /// This status and headers, and this body whatever is asked for.
    Always(&'static str, &'static str),
    /// A body without an end.
    Endless,
}

/// A header that a request must have, and the answer where it has it not.
pub(crate) type Guard = (&'static str, &'static str, &'static str);

/// An answer: method, path, body.
pub(crate) type Answer = (&'static str, &'static str, &'static str);

pub(crate) struct Fake {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    mood: Arc<Mutex<Mood>>,
}

impl Fake {
    /// Answers what is in the list, and 404 otherwise. What is not had by `PUT` needs the header of the guard.
    pub(crate) fn start(answers: &[Answer], guard: Option<Guard>, mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, mood) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(mood)));
        let (answers, own) = (answers.to_vec(), (Arc::clone(&asked), Arc::clone(&mood)));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answers, asked, mood) = (answers.clone(), Arc::clone(&own.0), Arc::clone(&own.1));
                std::thread::spawn(move || serve(&stream, &answers, guard, &mood, &asked));
            }
        });
        Self { address, asked, mood }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Request lines so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }
}

fn serve(
    stream: &TcpStream,
    answers: &[Answer],
    guard: Option<Guard>,
    mood: &Mutex<Mood>,
    asked: &Mutex<Vec<String>>,
) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let headers: Vec<String> = headers.iter().map(|line| line.to_ascii_lowercase()).collect();
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    asked.lock().unwrap().push(format!("{method} {path}"));
    let mood = mood.lock().unwrap().clone();
    let mut out = stream;
    let mut answer = |status: &str, body: &str| {
        let length = body.len();
        // Whoever asked may have gone.
        let _gone = write!(out, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
    };
    match mood {
        Mood::Silent => std::thread::sleep(Duration::from_mins(1)),
        Mood::Always(status, body) => answer(status, body),
        Mood::Endless => {
            let _gone = write!(out, "HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n");
            while out.write_all(&[b'x'; 8192]).is_ok() {}
        }
        Mood::Answers | Mood::Slow(_) => {
            if let Mood::Slow(time) = mood {
                std::thread::sleep(time);
            }
            let found = answers.iter().find(|(by, at, _)| *by == method && *at == path);
            match (guard, found) {
                (Some((name, value, refusal)), _)
                    if method == "GET"
                        && !headers.contains(&format!("{name}: {value}").to_ascii_lowercase()) =>
                {
                    answer(refusal, "");
                }
                (_, Some((_, _, body))) => answer("200 OK", body),
                _ => answer("404 Not Found", "<html>not found</html>"),
            }
        }
    }
}

/// The fields that EC2 documents, with the token of its second version.
pub(crate) const AWS: &[Answer] = &[
    ("PUT", "/latest/api/token", "TOKEN=="),
    ("GET", "/latest/meta-data/instance-id", "i-1234567890abcdef0"),
    ("GET", "/latest/meta-data/placement/region", "eu-central-1"),
    ("GET", "/latest/meta-data/placement/availability-zone", "eu-central-1b"),
    ("GET", "/latest/meta-data/placement/availability-zone-id", "euc1-az3"),
    ("GET", "/latest/meta-data/instance-type", "m7g.large"),
    ("GET", "/latest/meta-data/instance-life-cycle", "spot"),
    ("GET", "/latest/meta-data/ami-id", "ami-0abcdef1234567890"),
    ("GET", "/latest/meta-data/local-ipv4", "10.0.0.7"),
    ("GET", "/latest/meta-data/public-ipv4", "192.0.2.7"),
    (
        "GET",
        "/latest/meta-data/identity-credentials/ec2/info",
        "{\n  \"Code\" : \"Success\",\n  \"AccountId\" : \"123456789012\"\n}",
    ),
];
pub(crate) const AWS_GUARD: Guard = ("x-aws-ec2-metadata-token", "TOKEN==", "401 Unauthorized");

pub(crate) const GCP: &[Answer] = &[
    ("GET", "/computeMetadata/v1/instance/id", "4520031799277581759"),
    ("GET", "/computeMetadata/v1/project/project-id", "shop-prod"),
    ("GET", "/computeMetadata/v1/instance/zone", "projects/739419398126/zones/europe-west1-b"),
    ("GET", "/computeMetadata/v1/instance/machine-type", "projects/739419398126/machineTypes/e2-small"),
    (
        "GET",
        "/computeMetadata/v1/instance/image",
        "projects/debian-cloud/global/images/debian-12-bookworm-v20261110",
    ),
    ("GET", "/computeMetadata/v1/instance/scheduling/preemptible", "FALSE"),
    ("GET", "/computeMetadata/v1/instance/network-interfaces/0/ip", "10.132.0.2"),
    ("GET", "/computeMetadata/v1/instance/network-interfaces/0/access-configs/0/external-ip", "192.0.2.8"),
];
pub(crate) const GCP_GUARD: Guard = ("metadata-flavor", "Google", "403 Forbidden");

pub(crate) const AZURE: &[Answer] = &[(
    "GET",
    "/metadata/instance?format=json&api-version=2021-05-01",
    r#"{"compute":{"azEnvironment":"AzurePublicCloud","location":"westeurope","name":"web-0","subscriptionId":
       "8d10da13-8125-4ba9-a717-bf7490507b3d","vmId":"02aab8a4-74ef-476e-8182-f6d2ba4166a6","vmSize":
       "Standard_D2s_v5","zone":"2","storageProfile":{"imageReference":{"id":"","offer":"0001-com-ubuntu"}}},
       "network":{"interface":[{"ipv4":{"ipAddress":[{"privateIpAddress":"10.144.133.132","publicIpAddress":
       "192.0.2.9"}],"subnet":[{"address":"10.144.133.128","prefix":"26"}]},"macAddress":"0011AAFFBB22"}]}}"#,
)];
pub(crate) const AZURE_GUARD: Guard = ("metadata", "True", "400 Bad Request");
