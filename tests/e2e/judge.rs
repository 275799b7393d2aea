//! The logs against coroot's parser (`tests/logparser`, which `.ci/logparser` builds from its Go module): the tables of
//! `tests/fixtures/logs`, every text in the parser's own tests, and messages that are made up. Where we differ the table says
//! so, and so does a list here.

use connscope::source::logs::message::Messages;
use connscope::source::logs::pattern::{Patterns, alike, word};
use connscope::source::logs::severity::text::severity;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

/// What the parser answers to these questions.
pub(crate) fn ask(questions: &[Value]) -> Vec<Value> {
    let mut file = tempfile::tempfile().unwrap();
    for question in questions {
        writeln!(file, "{question}").unwrap();
    }
    std::io::Seek::rewind(&mut file).unwrap();
    let output = Command::new(program()).arg("judge").stdin(file).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), questions.len());
    answers
}

fn program() -> String {
    let program = std::env::var("CONNSCOPE_LOGPARSER").unwrap_or_default();
    assert!(!program.is_empty(), "coroot's parser is needed: make e2e builds it, with Go");
    program
}

/// The lines of a table, each in as many fields.
fn table(name: &str, fields: usize) -> Vec<Vec<String>> {
    let text =
        std::fs::read_to_string(crate::stack::repository(&format!("tests/fixtures/logs/{name}"))).unwrap();
    text.lines().map(|line| line.splitn(fields, '\t').map(str::to_owned).collect()).collect()
}

/// The texts in the parser's own tests.
fn published() -> Vec<String> {
    let text = std::fs::read_to_string(format!("{}.published", program())).unwrap();
    let texts: Vec<String> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(texts.len() > 100, "{}", texts.len());
    texts
}

/// Hash and words.
fn pattern(message: &str) -> (String, String) {
    let mut patterns = Patterns::default();
    patterns.of(message);
    (word(patterns.hash()), patterns.text)
}

/// The messages that lines are.
fn messages(text: &str) -> Vec<String> {
    let (mut messages, mut found) = (Messages::default(), Vec::new());
    for line in text.split('\n') {
        messages.line(line, |message| found.push(message.to_owned()));
    }
    messages.end(|message| found.push(message.to_owned()));
    found
}

/// Texts of what messages are made of, the same ones each time (xorshift).
fn made_up() -> Vec<String> {
    const PIECES: [&str; 40] = [
        "order",
        "failed",
        "ERROR",
        "warn",
        "x",
        "deadbeef",
        "0x1f",
        "42",
        "é",
        "\u{331f}",
        "\u{a0}",
        "\u{2028}",
        " ",
        " ",
        " ",
        "\t",
        "\n",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "\"",
        "'",
        "\\",
        "=",
        ":",
        ",",
        ";",
        ".",
        "_",
        "-",
        "info",
        "05:42:25",
        "E1126",
        "level=",
        "0e5ad2f0-91b3-4c1e-8a55-7f2de1c0a991",
        "Traceback ",
        "/",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |most: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % most as u64).unwrap()
    };
    (0..20_000).map(|_| (0..=next(40)).map(|_| PIECES[next(PIECES.len())]).collect()).collect()
}

#[test]
fn hashes_and_words_of_patterns_are_those_of_coroots_parser() {
    let table = table("patterns.tsv", 3);
    let of_table = table.iter().map(|fields| serde_json::from_str(&fields[2]).unwrap());
    let messages: Vec<String> = of_table.chain(published()).chain(made_up()).collect();
    let answers = ask(&messages.iter().map(|message| json!(["message", message])).collect::<Vec<_>>());
    for (message, answer) in messages.iter().zip(&answers) {
        let (hash, words) = pattern(message);
        assert_eq!((json!(hash), json!(words)), (answer[1].clone(), answer[2].clone()), "{message:?}");
    }
    for (fields, answer) in table.iter().zip(&answers) {
        assert_eq!(
            (json!(fields[0]), json!(fields[1])),
            (answer[1].clone(), answer[2].clone()),
            "{fields:?}"
        );
    }
}

#[test]
fn messages_are_one_pattern_where_they_are_for_coroots_parser() {
    let of_table = table("alike.tsv", 3);
    let text = |field: &String| serde_json::from_str::<String>(field).unwrap();
    let mut pairs: Vec<(String, String)> =
        of_table.iter().map(|fields| (text(&fields[1]), text(&fields[2]))).collect();
    let others = [published(), made_up()].concat();
    pairs.extend(others.iter().cloned().zip(others.iter().skip(1).cloned()));
    let answers = ask(&pairs.iter().map(|(one, other)| json!(["alike", one, other])).collect::<Vec<_>>());
    let words = |message: &str| {
        let mut patterns = Patterns::default();
        patterns.of(message);
        patterns.words
    };
    for ((one, other), answer) in pairs.iter().zip(&answers) {
        assert_eq!(json!(alike(&words(one), &words(other))), *answer, "{one:?} {other:?}");
    }
    for (fields, answer) in of_table.iter().zip(&answers) {
        assert_eq!(fields[0], answer.to_string(), "{fields:?}");
    }
}

#[test]
fn severities_are_those_of_coroots_parser_but_where_the_table_says_otherwise() {
    let of_table = table("severity.tsv", 3);
    let lines = of_table.iter().map(|fields| fields[2].clone());
    let others = [published(), made_up()].concat().into_iter();
    let lines: Vec<String> =
        lines.chain(others.map(|text| text.lines().next().unwrap_or_default().to_owned())).collect();
    let answers = ask(&lines.iter().map(|line| json!(["message", line])).collect::<Vec<_>>());
    let (differ, same) = answers.split_at(of_table.len());
    for (fields, answer) in of_table.iter().zip(differ) {
        assert_eq!(json!(fields[1]), answer[0], "{fields:?}");
    }
    for (line, answer) in lines.iter().skip(of_table.len()).zip(same) {
        // Of a line of pairs the value of `level` is believed and no other word.
        let is_logfmt = line.split_whitespace().next().is_some_and(|first| first.contains('='));
        assert!(is_logfmt || json!(severity(line).word()) == answer[0], "{answer}: {line:?}");
    }
}

#[test]
fn lines_have_a_time_where_they_have_for_coroots_parser() {
    let of_table = table("timestamps.tsv", 2);
    let questions: Vec<Value> =
        of_table.iter().map(|fields| json!(["lines", format!("{}\nplain", fields[1])])).collect();
    for (fields, answer) in of_table.iter().zip(ask(&questions)) {
        let is_one = answer.as_array().unwrap().len() == 1;
        assert_eq!(fields[0], is_one.to_string(), "{fields:?}");
    }
}

#[test]
fn lines_are_the_messages_that_they_are_for_coroots_parser_but_for_traces_that_it_does_not_know() {
    let text =
        std::fs::read_to_string(crate::stack::repository("tests/fixtures/logs/multiline.txt")).unwrap();
    let cases: Vec<(&str, &str)> =
        text.split("## ").skip(1).map(|case| case.split_once('\n').unwrap()).collect();
    let texts: Vec<&str> = cases.iter().map(|(_, text)| text.trim_end_matches('\n')).collect();
    let answers = ask(&texts.iter().map(|text| json!(["lines", text])).collect::<Vec<_>>());
    for (((heading, _), text), answer) in cases.iter().zip(&texts).zip(answers) {
        let mut numbers = heading.split(' ').map(|number| number.parse::<usize>().unwrap_or_default());
        let (ours, theirs) = (numbers.next().unwrap(), numbers.next().unwrap());
        assert_eq!(answer.as_array().unwrap().len(), theirs, "{heading}: {answer}");
        assert!(ours != theirs || json!(messages(text)) == answer, "{heading}: {answer}");
    }
    let published = published();
    let answers = ask(&published.iter().map(|text| json!(["lines", text])).collect::<Vec<_>>());
    for (text, mut answer) in published.iter().zip(answers) {
        // A line of blanks is an empty message there, and none here.
        answer.as_array_mut().unwrap().retain(|message| message != "");
        assert_eq!(json!(messages(text)), answer, "{text}");
    }
}
