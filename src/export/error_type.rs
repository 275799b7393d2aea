//! Error types of exports: values of the attribute `error.type`.

/// Error type of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ErrorType(&'static str);

/// The names of the gRPC status codes, by number.
const GRPC: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// HTTP status codes that OTLP receivers and proxies return.
const HTTP: [(u16, &str); 19] = [
    (301, "301"),
    (302, "302"),
    (303, "303"),
    (307, "307"),
    (308, "308"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (413, "413"),
    (415, "415"),
    (429, "429"),
    (500, "500"),
    (501, "501"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
];

impl ErrorType {
    /// Number of values, including success.
    pub const BOUND: usize = GRPC.len() + HTTP.len() + 5;

    /// There was no response in time.
    pub const TIMEOUT: Self = Self("timeout");
    /// The connection could not be established, or broke.
    pub const CONNECTION: Self = Self("connection");
    /// The receiver accepted the message and rejected some of its data points.
    pub const REJECTED: Self = Self("rejected");
    /// Any other error.
    pub const OTHER: Self = Self("_OTHER");

    /// `error.type` of a gRPC status.
    pub fn grpc(code: tonic::Code) -> Self {
        usize::try_from(code as i32)
            .ok()
            .and_then(|code| GRPC.get(code))
            .map_or(Self::OTHER, |name| Self(name))
    }

    /// `error.type` of an HTTP status.
    pub fn http(status: u16) -> Self {
        HTTP.iter().find(|(code, _)| *code == status).map_or(Self::OTHER, |(_, name)| Self(name))
    }

    /// Value of the attribute `error.type`.
    pub fn word(self) -> &'static str {
        self.0
    }
}
