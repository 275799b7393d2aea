//! Packing the metrics of one collection into messages that a receiver takes.
//!
//! tonic and the Collector refuse messages over 4 MiB (decompressed) unless told otherwise. Metrics are put together in
//! order until the next would be too much; a metric that alone is too much is cut between its data points.

use super::{Message, bytes, nested};
use hyper::body::Bytes;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint};

/// Most bytes of one message.
pub const MOST_BYTES: usize = 4 * 1024 * 1024;

/// The field `metrics` of `ScopeMetrics`.
const METRICS: u32 = 2;

/// What the key and the length of a nested message or of a data point may add.
const PREFIX: usize = 8;

/// What stands around the metrics of every message: fields of `ResourceMetrics` and of `ScopeMetrics`, encoded.
#[derive(Debug, Default, Clone)]
pub struct Frame {
    /// Before the scope.
    pub resource: Vec<u8>,
    /// Before the metrics.
    pub scope: Vec<u8>,
    /// After the metrics.
    pub after_metrics: Vec<u8>,
    /// After the scope.
    pub after_scope: Vec<u8>,
}

impl Frame {
    /// Lengths of `ScopeMetrics` and `ResourceMetrics` around so many bytes of metrics.
    fn lengths(&self, metrics: usize) -> (usize, usize) {
        let scope = self.scope.len() + metrics + self.after_metrics.len();
        (scope, self.resource.len() + delimited(scope) + self.after_scope.len())
    }

    /// Length of a message with so many bytes of metrics.
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

/// Length of a field of so many bytes with its key, one byte, and its length.
fn delimited(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

/// Takes metric after metric, and makes a message whenever the next would be too much.
#[derive(Debug)]
pub struct Packer {
    frame: Frame,
    most: usize,
    /// The metrics of the message that is being made, each as a field of its scope.
    metrics: Vec<u8>,
    points: u64,
    messages: Vec<Message>,
}

impl Packer {
    /// Nothing packed yet; messages have at most `most` bytes. A single data point that is larger is left whole: it is for
    /// the receiver to refuse.
    pub fn new(frame: Frame, most: usize) -> Self {
        Self { frame, most, metrics: Vec::new(), points: 0, messages: Vec::new() }
    }

    /// Takes a metric: what `write` writes, which says how many data points that has.
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

    /// Ends the message that is being made, if there is anything in it.
    fn end(&mut self) {
        if !self.metrics.is_empty() {
            let bytes = self.frame.around(&self.metrics);
            self.messages.push(Message { bytes, points: std::mem::take(&mut self.points) });
            self.metrics.clear();
        }
    }

    /// The messages.
    pub fn finish(mut self) -> Vec<Message> {
        self.end();
        self.messages
    }
}

/// A field of an encoded message.
struct Field<'a> {
    tag: u32,
    /// The whole field, with its key.
    whole: &'a [u8],
    /// What a nested message or a text has in it; of numbers, nothing.
    inside: &'a [u8],
}

/// The first field, and what follows it; `None` at the end.
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

/// Cuts a metric into metrics of at most `room` bytes, each with its data points. All kinds of data have their points in the
/// first field. `None` where there is nothing to cut.
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
