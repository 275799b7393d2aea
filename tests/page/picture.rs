//! The pixels of a PNG as Chromium writes it: eight bits for red, green, blue and perhaps alpha, not interlaced.

use std::collections::HashSet;
use std::io::Read;

pub(super) struct Picture {
    pub(super) width: usize,
    pub(super) height: usize,
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    pub(super) fn of(png: &[u8]) -> Self {
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
        let (width, height) = (number(16), number(20));
        assert_eq!((png[24], png[28]), (8, 0), "eight bits, not interlaced");
        let size = match png[25] {
            2 => 3,
            6 => 4,
            other => panic!("colours of type {other}"),
        };
        let (mut at, mut packed) = (8, Vec::new());
        while at < png.len() {
            let length = number(at);
            if &png[at + 4..at + 8] == b"IDAT" {
                packed.extend_from_slice(&png[at + 8..at + 8 + length]);
            }
            at += length + 12;
        }
        let mut bytes = Vec::new();
        flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
        let mut above = vec![0; width * size];
        let mut pixels = Vec::new();
        for line in bytes.chunks(width * size + 1) {
            let mut own = line[1..].to_vec();
            for at in 0..own.len() {
                let left = if at < size { 0 } else { own[at - size] };
                let corner = if at < size { 0 } else { above[at - size] };
                let predicted = match line[0] {
                    0 => 0,
                    1 => left,
                    2 => above[at],
                    3 => left.midpoint(above[at]),
                    _ => paeth(left, above[at], corner),
                };
                own[at] = own[at].wrapping_add(predicted);
            }
            pixels.extend(own.chunks(size).map(|pixel| [pixel[0], pixel[1], pixel[2]]));
            above = own;
        }
        assert_eq!(pixels.len(), width * height);
        Self { width, height, pixels }
    }

    /// Mean brightness, 0 to 255.
    pub(super) fn brightness(&self) -> f64 {
        let sum: u64 = self.pixels.iter().flatten().map(|part| u64::from(*part)).sum();
        let all = u32::try_from(self.pixels.len() * 3).unwrap();
        f64::from(u32::try_from(sum).unwrap()) / f64::from(all)
    }

    /// How many pixels of a part (left, top, width, height) have about this colour.
    pub(super) fn count(&self, part: [usize; 4], colour: [u8; 3]) -> usize {
        let [left, top, width, height] = part;
        let near = |pixel: &[u8; 3]| pixel.iter().zip(colour).all(|(own, wanted)| own.abs_diff(wanted) < 40);
        let lines = (top..top + height).map(|line| &self.pixels[line * self.width..][left..left + width]);
        lines.flatten().filter(|pixel| near(pixel)).count()
    }

    /// Number of different colours.
    pub(super) fn colours(&self) -> usize {
        self.pixels.iter().collect::<HashSet<_>>().len()
    }
}

fn paeth(left: u8, above: u8, corner: u8) -> u8 {
    let [a, b, c] = [left, above, corner].map(i32::from);
    let [near_left, near_above, near_corner] = [a, b, c].map(|value| (a + b - c - value).abs());
    if near_left <= near_above && near_left <= near_corner {
        left
    } else if near_above <= near_corner {
        above
    } else {
        corner
    }
}
