//! From the text of a filter to its states and its expression.
//!
//! The grammar is that of iproute2's `misc/ssfilter.y`. Two pages disagree on what binds closer: ss(8) says `and` does,
//! but the grammar has one rule for both, which takes them from left to right, so that `a or b and c` is
//! `( a or b ) and c`. The grammar is what runs, in 6.1 as in later releases, so it is followed here.
//!
//! Where `ss` refuses, some things are understood: parentheses need no blanks around them, `src` and `dst` can be
//! compared with `!=`, and blanks may be line breaks.

use super::address;
use super::expression::{Compare, Expression, Operator, Side};
use super::number::number;
use super::services::Services;
use super::{FilterError, state};
use std::iter::Peekable;
use std::vec::IntoIter;

/// How long a text may be, in bytes. Addresses for as much bytecode as the kernel takes fit into it.
pub const TEXT: usize = 128 * 1024;

/// How many parentheses and `not`s may be inside each other. It bounds the stack of everything that walks a filter.
pub const DEPTH: usize = 64;

/// The states and the expression of a filter; none if every socket of these states passes.
pub(super) fn filter(text: &str, services: &Services) -> Result<(u32, Option<Expression>), FilterError> {
    if text.len() > TEXT {
        return Err(FilterError::TooLong { length: text.len() });
    }
    let mut parser = Parser { tokens: tokens(text).into_iter().peekable(), services, depth: 0 };
    let states = parser.states()?;
    if parser.tokens.peek().is_none_or(|token| token.kind == Kind::End) {
        return Ok((states, None));
    }
    let expression = parser.list()?;
    let rest = parser.next();
    match rest.kind {
        Kind::End => Ok((states, Some(expression))),
        _ => Err(rest.unexpected("`and`, `or`, a condition or the end")),
    }
}

#[derive(Debug)]
struct Token {
    /// Which character it begins with, from 1.
    column: usize,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// A word, and whether it is as it was written; with a backslash in it, it is never a keyword.
    Word(String, bool),
    Open,
    Close,
    End,
}

/// Words are between blanks and parentheses; a backslash takes what comes next for a character of the word.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word: Option<(usize, String, bool)> = None;
    let mut characters = text.chars().zip(1..);
    let mut end = 1;
    let finish = |word: Option<(usize, String, bool)>, tokens: &mut Vec<Token>| {
        tokens.extend(word.map(|(column, text, plain)| Token { column, kind: Kind::Word(text, plain) }));
    };
    while let Some((character, column)) = characters.next() {
        end = column + 1;
        match character {
            blank if blank.is_whitespace() => finish(word.take(), &mut tokens),
            '(' | ')' => {
                finish(word.take(), &mut tokens);
                tokens.push(Token { column, kind: if character == '(' { Kind::Open } else { Kind::Close } });
            }
            _ => {
                let (_, text, plain) = word.get_or_insert_with(|| (column, String::new(), true));
                let escaped = if character == '\\' { characters.next() } else { None };
                *plain &= character != '\\';
                text.push(escaped.map_or(character, |(escaped, _)| escaped));
            }
        }
    }
    finish(word, &mut tokens);
    tokens.push(Token { column: end, kind: Kind::End });
    tokens
}

impl Token {
    /// The word, if it may be a keyword.
    fn keyword(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word, true) => Some(word),
            _ => None,
        }
    }

    fn unexpected(&self, expected: &str) -> FilterError {
        let found = match &self.kind {
            Kind::Word(word, _) => quoted(word),
            Kind::Open => "`(`".to_owned(),
            Kind::Close => "`)`".to_owned(),
            Kind::End => "the end".to_owned(),
        };
        FilterError::At { column: self.column, what: format!("expected {expected}, found {found}") }
    }
}

fn quoted(word: &str) -> String {
    let short: String = word.chars().take(60).collect();
    let dots = if short.len() < word.len() { "…" } else { "" };
    format!("`{}{dots}`", short.escape_debug())
}

struct Parser<'a> {
    tokens: Peekable<IntoIter<Token>>,
    services: &'a Services,
    depth: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Token {
        self.tokens.next().unwrap_or(Token { column: 1, kind: Kind::End })
    }

    fn peek(&mut self) -> Option<&str> {
        self.tokens.peek().and_then(Token::keyword)
    }

    /// `state X` and `exclude X`: the first says whether it begins with none or with all.
    fn states(&mut self) -> Result<u32, FilterError> {
        let mut states = None;
        let mut last = 0;
        while let Some(word @ ("state" | "exclude" | "excl")) = self.peek() {
            let adds = word == "state";
            self.next();
            let token = self.next();
            let mask = token.keyword().and_then(state::mask).ok_or_else(|| {
                token.unexpected("a state (established, listening, time-wait, ..., all, connected, synchronized, bucket, big)")
            })?;
            let so_far: u32 = states.unwrap_or(if adds { 0 } else { state::ALL });
            states = Some(if adds { so_far | mask } else { so_far & !mask });
            last = token.column;
        }
        if states == Some(0) {
            return Err(FilterError::At { column: last, what: "no state is left".into() });
        }
        Ok(states.unwrap_or(state::ALL))
    }

    /// Conditions, from left to right. A list in parentheses at the beginning is the beginning of the list.
    fn list(&mut self) -> Result<Expression, FilterError> {
        let (first, mut rest) = match self.single()? {
            Expression::List(first, rest) => (first, rest),
            single => (Box::new(single), Vec::new()),
        };
        loop {
            if let Some(Token { kind: Kind::Close | Kind::End, .. }) | None = self.tokens.peek() {
                break;
            }
            let link = match self.peek() {
                Some("or" | "||" | "|") => Some(Operator::Or),
                Some("and" | "&&" | "&") => Some(Operator::And),
                _ => None,
            };
            if link.is_some() {
                self.next();
            }
            rest.push((link.unwrap_or(Operator::And), self.single()?));
        }
        Ok(if rest.is_empty() { *first } else { Expression::List(first, rest) })
    }

    /// One condition, negated, or some in parentheses.
    fn single(&mut self) -> Result<Expression, FilterError> {
        let token = self.next();
        match (&token.kind, token.keyword()) {
            (Kind::Open, _) => {
                let inner = self.deeper(&token, Self::list)?;
                let close = self.next();
                match close.kind {
                    Kind::Close => Ok(inner),
                    _ => Err(close.unexpected("`)`, `and`, `or` or a condition")),
                }
            }
            (_, Some("not" | "!")) => Ok(Expression::Not(Box::new(self.deeper(&token, Self::single)?))),
            (_, Some("src")) => self.host(Side::Local),
            (_, Some("dst")) => self.host(Side::Peer),
            (_, Some("sport")) => self.port(Side::Local),
            (_, Some("dport")) => self.port(Side::Peer),
            (_, Some("dev")) => self.named("the name or the index of an interface", |_, name| Ok(Expression::Device(name.to_owned()))),
            (_, Some("cgroup")) => self.named("the path of a control group", |_, path| Ok(Expression::Cgroup(path.to_owned()))),
            (_, Some("fwmark")) => self.named("a mark", mark),
            (_, Some("autobound")) => Ok(Expression::Autobound),
            (_, Some("state" | "exclude" | "excl")) => {
                Err(token.unexpected("a condition (states stand before all conditions)"))
            }
            _ => Err(token.unexpected(
                "a condition (src, dst, sport, dport, dev, fwmark, cgroup, autobound), `not` or `(`, with blanks between words",
            )),
        }
    }

    fn deeper(
        &mut self,
        from: &Token,
        inner: impl FnOnce(&mut Self) -> Result<Expression, FilterError>,
    ) -> Result<Expression, FilterError> {
        if self.depth == DEPTH {
            let what = format!("more than {DEPTH} parentheses and `not`s inside each other");
            return Err(FilterError::At { column: from.column, what });
        }
        self.depth += 1;
        let inner = inner(self);
        self.depth -= 1;
        inner
    }

    /// The operator, if there is one.
    fn compare(&mut self) -> Option<(usize, Compare)> {
        let compare = match self.peek()? {
            "=" | "==" | "eq" => Compare::Equal,
            "!=" | "ne" | "neq" => Compare::NotEqual,
            "<" | "lt" => Compare::Less,
            "<=" | "le" | "leq" => Compare::LessOrEqual,
            ">" | "gt" => Compare::Greater,
            ">=" | "ge" | "geq" => Compare::GreaterOrEqual,
            _ => return None,
        };
        Some((self.next().column, compare))
    }

    /// The operator of what has no order: whether it negates.
    fn equal(&mut self) -> Result<bool, FilterError> {
        match self.compare() {
            None | Some((_, Compare::Equal)) => Ok(false),
            Some((_, Compare::NotEqual)) => Ok(true),
            Some((column, compare)) => {
                let what =
                    format!("expected `=` or `!=`, found `{compare}`; only sport and dport have an order");
                Err(FilterError::At { column, what })
            }
        }
    }

    /// The next word, made into something.
    fn word<T>(
        &mut self,
        expected: &str,
        make: impl FnOnce(&Self, &str) -> Result<T, String>,
    ) -> Result<T, FilterError> {
        let token = self.next();
        match token.kind {
            Kind::Word(word, _) => {
                let name = quoted(&word);
                make(self, &word)
                    .map_err(|why| FilterError::At { column: token.column, what: format!("{name} {why}") })
            }
            _ => Err(token.unexpected(expected)),
        }
    }

    /// `[=|!=] NAME`.
    fn named(
        &mut self,
        expected: &str,
        make: impl FnOnce(&Self, &str) -> Result<Expression, String>,
    ) -> Result<Expression, FilterError> {
        let negated = self.equal()?;
        let named = self.word(expected, make)?;
        Ok(if negated { Expression::Not(Box::new(named)) } else { named })
    }

    fn host(&mut self, side: Side) -> Result<Expression, FilterError> {
        self.named("an address, `:PORT` or `*`", |parser, word| {
            let address::Host { family, network, port } = address::host(word, parser.services)?;
            Ok(Expression::Host { side, family, network, port })
        })
    }

    fn port(&mut self, side: Side) -> Result<Expression, FilterError> {
        let compare = self.compare().map_or(Compare::Equal, |(_, compare)| compare);
        self.word("a port", |parser, word| {
            let (family, port) = address::port(word, parser.services)?;
            match (compare, port) {
                (_, Some(port)) => Ok(Expression::Port { side, compare, family, port }),
                (Compare::Equal, None) => Ok(Expression::Host { side, family, network: None, port }),
                (_, None) => Err(format!("is any port, and nothing is `{compare}` any port")),
            }
        })
    }
}

/// `VALUE[/MASK]`.
fn mark(_: &Parser<'_>, word: &str) -> Result<Expression, String> {
    let (value, mask) = word.split_once('/').map_or((word, None), |(value, mask)| (value, Some(mask)));
    match (number(value), mask.map_or(Some(u32::MAX), number)) {
        (Some(value), Some(mask)) => Ok(Expression::Mark { value, mask }),
        _ => Err("is not a mark; write VALUE or VALUE/MASK, decimal or with 0x".into()),
    }
}
