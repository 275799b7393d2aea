//! A node as a deserializer of serde's: the one over which every settings struct is derived (pure).

use super::located::{self, WithPosition};
use super::tree::{Error, Node, Step, Style, Value};
use crate::text::bounded;
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use std::rc::Rc;

/// Most bytes of a wrong value that an error repeats.
const REPEATED: usize = 64;

/// What a scalar without quotes stands for, by the core schema of YAML 1.2.
enum Plain {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text,
}

fn plain(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        _ => {}
    }
    match whole(text) {
        Some(number) => match (u64::try_from(number), i64::try_from(number)) {
            (Ok(number), _) => Plain::Unsigned(number),
            (_, Ok(number)) => Plain::Signed(number),
            _ => Plain::Text,
        },
        None => float(text).map_or(Plain::Text, Plain::Float),
    }
}

/// A whole number: decimal, `0x`, `0o` or `0b`, with `_` between digits.
fn whole(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x") => (16, digits.get(2..)?),
        Some("0o") => (8, digits.get(2..)?),
        Some("0b") => (2, digits.get(2..)?),
        _ => (10, digits),
    };
    if !digits.starts_with(|digit: char| digit.is_digit(radix)) || digits.ends_with('_') {
        return None;
    }
    let number = i128::from_str_radix(&digits.replace('_', ""), radix).ok()?;
    Some(if negative { -number } else { number })
}

fn float(text: &str) -> Option<f64> {
    let bare = text.strip_prefix(['-', '+']).unwrap_or(text);
    match bare {
        ".inf" | ".Inf" | ".INF" => {
            return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    // Rust reads `inf`, `nan` and `infinity` as numbers; YAML does not.
    let number = bare.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    number.then(|| text.parse().ok()).flatten()
}

/// A truth value: the words of YAML 1.2, and those of 1.1 that people still write.
fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

impl Node {
    fn number<T: TryFrom<i128>>(&self) -> Result<T, Error> {
        let number = self.text().and_then(whole).and_then(|number| T::try_from(number).ok());
        number
            .ok_or_else(|| Error::new(format!("{}is not a whole number, or is out of range", self.quoted())))
    }

    /// The text of a value that should have been a number, to begin an error with.
    fn quoted(&self) -> String {
        self.text().map_or_else(String::new, |text| format!("`{}` ", bounded(text, REPEATED)))
    }

    fn real(&self) -> Result<f64, Error> {
        self.text().and_then(float).ok_or_else(|| Error::new(format!("{}is not a number", self.quoted())))
    }

    fn word(&self) -> Result<&str, Error> {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => Err(Error::new("is empty; a string is expected")),
            Value::Scalar { style: Style::Literal, .. } => {
                Err(Error::new("is a number or a boolean; a string is expected"))
            }
            Value::Scalar { text, .. } => Ok(text),
            Value::List { .. } => Err(Error::new("is a list; a string is expected")),
            Value::Map(_) => Err(Error::new("is a section with keys; a string is expected")),
        }
    }
}

macro_rules! whole_numbers {
    ($($name:ident $visit:ident $type:ty;)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.number::<$type>().and_then(|number| visitor.$visit(number)).map_err(|error: Error| error.at(self.at))
        })*
    };
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::List { .. } => return self.deserialize_seq(visitor),
            Value::Map(_) => return self.deserialize_map(visitor),
            Value::Scalar { text, style: Style::Quoted } => visitor.visit_borrowed_str(text),
            Value::Scalar { text, .. } => match plain(text) {
                Plain::Null => visitor.visit_unit(),
                Plain::Bool(value) => visitor.visit_bool(value),
                Plain::Unsigned(value) => visitor.visit_u64(value),
                Plain::Signed(value) => visitor.visit_i64(value),
                Plain::Float(value) => visitor.visit_f64(value),
                Plain::Text => visitor.visit_borrowed_str(text),
            },
        }
        .map_err(|error: Error| error.at(self.at))
    }

    whole_numbers! {
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.real().and_then(|number| visitor.visit_f64(number)).map_err(|error| error.at(self.at))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = self.text().and_then(truth).ok_or_else(|| Error::new("is neither true nor false"));
        value.and_then(|value| visitor.visit_bool(value)).map_err(|error| error.at(self.at))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.word().and_then(|text| visitor.visit_borrowed_str(text)).map_err(|error| error.at(self.at))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let text = self.text().ok_or_else(|| Error::new("is not a key"));
        text.and_then(|text| visitor.visit_borrowed_str(text)).map_err(|error| error.at(self.at))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == located::NAME {
            return visitor.visit_seq(WithPosition::of(self));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let (list, _) = self.items()?;
        visitor.visit_seq(Items { list, next: 0 }).map_err(|error| error.at(self.at))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Value::Map(entries) = &self.value else {
            return Err(Error::new("is not a section with keys").at(self.at));
        };
        visitor.visit_map(Entries { entries: entries.iter(), value: None }).map_err(|error| error.at(self.at))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let result = match &self.value {
            Value::Scalar { .. } => self.word().and_then(|word| visitor.visit_enum(word.into_deserializer())),
            Value::Map(entries) => match entries.as_slice() {
                [(variant, value)] => visitor.visit_enum(Variant { variant, value }),
                _ => Err(Error::new("is not one key with its value")),
            },
            Value::List { .. } => Err(Error::new("is a list; it takes one of its words")),
        };
        result.map_err(|error| error.at(self.at))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { i8 i16 i128 u128 f32 char bytes byte_buf unit unit_struct tuple_struct }
}

/// Deserialises the items of a list one after the other.
struct Items<'de> {
    list: &'de [Rc<Node>],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let index = self.next;
        let Some(node) = self.list.get(index) else { return Ok(None) };
        self.next += 1;
        seed.deserialize(&**node).map(Some).map_err(|error| error.at(node.at).within(Step::Index(index)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.list.len() - self.next)
    }
}

/// The keys and values of a section.
struct Entries<'de> {
    entries: std::slice::Iter<'de, (Rc<Node>, Rc<Node>)>,
    value: Option<(&'de Node, &'de Node)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some((key, value));
        seed.deserialize(&**key).map(Some).map_err(|error| error.at(key.at).within(step(key)))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((key, value)) = self.value.take() else {
            return Err(Error::new("a value was requested before its key"));
        };
        seed.deserialize(value).map_err(|error| error.at(value.at).within(step(key)))
    }
}

fn step(key: &Node) -> Step {
    Step::key(key.text().unwrap_or_default())
}

/// A variant that carries a value: `{variant: value}`.
struct Variant<'de> {
    variant: &'de Node,
    value: &'de Node,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let word: StrDeserializer<'_, Error> = self.variant.word()?.into_deserializer();
        seed.deserialize(word).map(|variant| (variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        if self.value.is_null() { Ok(()) } else { Err(Error::new("takes no value").at(self.value.at)) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.value).map_err(|error| error.at(self.value.at).within(step(self.variant)))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Result<V::Value, Error> {
        self.value.deserialize_seq(visitor).map_err(|error| error.within(step(self.variant)))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.value.deserialize_map(visitor).map_err(|error| error.within(step(self.variant)))
    }
}
