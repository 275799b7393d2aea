//! Packs the metrics of a collection into messages of a limited size.
//!
//! By default tonic and the Collector refuse messages over 4 MiB (decompressed). Metrics are packed in order until the
//! next would exceed the limit; a metric that alone exceeds it is split between its data points.

use super::{Message, bytes, nested};
use hyper::body::Bytes;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint};

/// Maximum size of a message, bytes.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The field `metrics` of `ScopeMetrics`.
const METRICS: u32 = 2;

/// Maximum size of the key and the length of a nested message or of a data point, bytes.
const PREFIX: usize = 8;

/// The parts of a message around its metrics: encoded fields of `ResourceMetrics` and `ScopeMetrics`.
#[derive(Debug, Default, Clone)]
pub struct Frame {
    /// Fields before the scope.
    pub resource: Vec<u8>,
    /// Fields before the metrics.
    pub scope: Vec<u8>,
    /// Fields after the metrics.
    pub after_metrics: Vec<u8>,
    /// Fields after the scope.
    pub after_scope: Vec<u8>,
}

impl Frame {
    /// Lengths of `ScopeMetrics` and `ResourceMetrics` with this many bytes of metrics.
    fn lengths(&self, metrics: usize) -> (usize, usize) {
        let scope = self.scope.len() + metrics + self.after_metrics.len();
        (scope, self.resource.len() + delimited(scope) + self.after_scope.len())
    }

    /// Length of a message with this many bytes of metrics.
    fn message(&self, metrics: usize) -> usize {
        delimited(self.lengths(metrics).1)
    }

    fn around(&self, metrics: &[u8]) -> Bytes {
        let (scope, resource) = self.lengths(metrics.len());
        let mut out = Vec::with_capacity(delimited(resource));
        encode_key(1, WireType::LengthDelimited, &mut out);
        encode_varint(resource as u64, &mut out);
        out.extend_from_slice(&self.resource);
        encode_key(2, WireType::LengthDelimited, &mut out);
        encode_varint(scope as u64, &mut out);
        for part in [&self.scope, metrics, &self.after_metrics, &self.after_scope] {
            out.extend_from_slice(part);
        }
        out.into()
    }
}

/// Length of a field with its one-byte key and its length.
fn delimited(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

/// Collects metrics, and completes a message before the next metric would exceed the limit.
#[derive(Debug)]
pub struct Packer {
    frame: Frame,
    most: usize,
    /// Metrics of the incomplete message, each as a field of its scope.
    metrics: Vec<u8>,
    points: u64,
    messages: Vec<Message>,
}

impl Packer {
    /// Creates it without metrics; messages have at most `most` bytes. A single data point that is larger is sent
    /// whole, and the receiver may refuse it.
    pub fn new(frame: Frame, most: usize) -> Self {
        Self { frame, most, metrics: Vec::new(), points: 0, messages: Vec::new() }
    }

    /// Adds the metric that `write` encodes; `write` returns its number of data points.
    pub fn add(&mut self, write: impl FnOnce(&mut Vec<u8>) -> u64) {
        let before = self.metrics.len();
        let mut points = 0;
        nested(&mut self.metrics, METRICS, |out| points = write(out));
        if self.fits(0) {
            self.points += points;
            return;
        }
        let metric = self.metrics.split_off(before);
        self.end();
        if self.fits(metric.len()) {
            (self.metrics, self.points) = (metric, points);
            return;
        }
        let room = self.most.saturating_sub(self.frame.message(0) + 2 * PREFIX);
        for (piece, points) in cut(&metric, room).unwrap_or_else(|| vec![(metric.clone(), points)]) {
            if !self.fits(piece.len()) {
                self.end();
            }
            self.metrics.extend_from_slice(&piece);
            self.points += points;
        }
    }

    fn fits(&self, more: usize) -> bool {
        self.frame.message(self.metrics.len() + more) <= self.most
    }

    /// Completes the current message, unless it is empty.
    fn end(&mut self) {
        if !self.metrics.is_empty() {
            let bytes = self.frame.around(&self.metrics);
            self.messages.push(Message { bytes, points: std::mem::take(&mut self.points) });
            self.metrics.clear();
        }
    }

    /// Completes the last message, and returns all.
    pub fn finish(mut self) -> Vec<Message> {
        self.end();
        self.messages
    }
}

/// A field of an encoded message.
struct Field<'a> {
    tag: u32,
    /// The field with its key.
    whole: &'a [u8],
    /// The content of a nested message or a string; empty for numbers.
    inside: &'a [u8],
}

/// The first field and the rest; `None` at the end.
fn field(bytes: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let mut rest = bytes;
    let (tag, wire) = decode_key(&mut rest).ok()?;
    let length = match wire {
        WireType::LengthDelimited => usize::try_from(decode_varint(&mut rest).ok()?).ok()?,
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::Varint => decode_varint(&mut rest).map(|_| 0).ok()?,
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    let (inside, after) = rest.split_at_checked(length)?;
    let whole = bytes.get(..bytes.len() - after.len())?;
    Some((Field { tag, whole, inside }, after))
}

fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Field<'_>> {
    std::iter::from_fn(move || {
        let (next, after) = field(bytes)?;
        bytes = after;
        Some(next)
    })
}

/// Splits a metric into metrics of at most `room` bytes, each with its number of data points. Every kind of data has
/// its points in the first field. `None` if it cannot be split.
fn cut(metric: &[u8], room: usize) -> Option<Vec<(Vec<u8>, u64)>> {
    const DATA: std::ops::RangeInclusive<u32> = 5..=11;
    const POINTS: u32 = 1;
    let (metric, _) = field(metric)?;
    let (mut head, mut rest) = (Vec::new(), Vec::new());
    let mut data = None;
    for field in fields(metric.inside) {
        if DATA.contains(&field.tag) {
            data = Some(field);
        } else {
            head.extend_from_slice(field.whole);
        }
    }
    let data = data?;
    for field in fields(data.inside).filter(|field| field.tag != POINTS) {
        rest.extend_from_slice(field.whole);
    }
    let room = room.saturating_sub(head.len() + rest.len() + 2 * PREFIX);
    let mut pieces = Vec::new();
    let mut add = |points: &mut Vec<u8>, count: &mut u64| {
        let mut piece = Vec::new();
        nested(&mut piece, METRICS, |out| {
            out.extend_from_slice(&head);
            points.extend_from_slice(&rest);
            bytes(out, data.tag, points);
        });
        points.clear();
        pieces.push((piece, std::mem::take(count)));
    };
    let (mut points, mut count) = (Vec::new(), 0);
    for point in fields(data.inside).filter(|field| field.tag == POINTS) {
        if points.len() + point.whole.len() > room && count > 0 {
            add(&mut points, &mut count);
        }
        points.extend_from_slice(point.whole);
        count += 1;
    }
    if count > 0 {
        add(&mut points, &mut count);
    }
    Some(pieces)
}
