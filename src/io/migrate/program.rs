//! A program that messages go through: a JSON line per message in, and one out.
//!
//! ```json
//! {"stream": "ORDERS", "seq": 7, "subject": "orders.new", "headers": {"Kind": ["a"]}, "payload": "text"}
//! {"subject": "orders.v2.new", "headers": {"Kind": ["a"]}, "payload": "text"}
//! {"reject": "no amount"}
//! ```
//!
//! A payload that is no UTF-8 comes as `payload_base64`, and may be given so. What is left out of an
//! answer stays as it was. The program reads until its input ends, and answers each line in turn; for
//! one message it always gives the same, since what it made is proved by asking it again.

use std::{path::Path, process::Stdio, time::Duration};

use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::{
    Error,
    verify::{Given, Taken},
};

/// How long some messages may take it.
const LONGEST: Duration = Duration::from_secs(60);

/// A program that runs.
pub(crate) struct Program {
    /// What it is called, for errors.
    words: String,
    /// The stream that messages come from.
    from: String,
    /// It ends with this value.
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

/// What becomes of a message.
#[derive(Debug)]
pub(crate) enum Made {
    /// This.
    Message { subject: String, headers: Vec<(String, String)>, payload: Vec<u8> },
    /// Nothing, for this reason.
    Rejected(String),
    /// Nothing: it is not to be copied at all.
    Left,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    reject: Option<String>,
    subject: Option<String>,
    headers: Option<Map<String, Value>>,
    payload: Option<String>,
    payload_base64: Option<String>,
}

impl Program {
    /// Starts it in a folder; what it writes to stderr is shown.
    pub(crate) fn start(exec: &[String], from: &str, folder: &Path) -> Result<Self, Error> {
        let words = exec.join(" ");
        let failed =
            |it: &dyn std::fmt::Display| Error::Given(format!("`{words}` cannot be run: {it}"));
        let (name, arguments) = exec.split_first().ok_or_else(|| failed(&"it has no name"))?;
        let mut command = Command::new(name);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        if !folder.as_os_str().is_empty() {
            command.current_dir(folder);
        }
        let mut child = command.spawn().map_err(|it| failed(&it))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(&"it gives no pipes"));
        };
        let output = BufReader::new(output).lines();
        Ok(Self { words, from: from.to_owned(), _child: child, input, output })
    }

    /// What it makes of some messages, one for each, in order.
    pub(crate) async fn make(&mut self, taken: &[Taken]) -> Result<Vec<Made>, Error> {
        let mut text = String::new();
        for it in taken {
            text += &line(&self.from, it);
        }
        let Self { words, input, output, .. } = self;
        let failed = |it: String| Error::Given(format!("`{words}` {it}"));
        let give = async {
            input.write_all(text.as_bytes()).await?;
            input.flush().await
        };
        let take = async {
            let mut made = Vec::with_capacity(taken.len());
            for it in taken {
                let line = output.next_line().await.map_err(|it| it.to_string())?;
                let line = line.ok_or("ended before it answered every line")?;
                let answer = answer(it, &line);
                made.push(answer.map_err(|why| {
                    format!("answered message {} with what is no answer: {why}", it.sequence)
                })?);
            }
            Ok::<_, String>(made)
        };
        // One that answers while it reads must find somebody who reads.
        let both = async { tokio::join!(give, take) };
        let (gave, made) = timeout(LONGEST, both)
            .await
            .map_err(|_| failed(format!("gave no answer within {} s", LONGEST.as_secs())))?;
        let made = made.map_err(&failed)?;
        gave.map_err(|it| failed(it.to_string()))?;
        Ok(made)
    }
}

fn line(from: &str, taken: &Taken) -> String {
    let Taken { sequence, subject, headers, payload } = taken;
    let mut named: Map<String, Value> = Map::new();
    for (name, value) in headers {
        let values = named.entry(name.clone()).or_insert_with(|| json!([]));
        if let Value::Array(values) = values {
            values.push(json!(value));
        }
    }
    let mut line = json!({ "stream": from, "seq": sequence, "subject": subject, "headers": named });
    match std::str::from_utf8(payload) {
        Ok(text) => line["payload"] = json!(text),
        Err(_) => line["payload_base64"] = json!(BASE64.encode(payload)),
    }
    line.to_string() + "\n"
}

fn answer(taken: &Taken, line: &str) -> Result<Made, String> {
    let answer: Answer = serde_json::from_str(line).map_err(|it| it.to_string())?;
    let Answer { reject, subject, headers, payload, payload_base64 } = answer;
    if let Some(reason) = reject {
        return Ok(Made::Rejected(reason));
    }
    let headers = match headers {
        None => taken.headers.clone(),
        Some(headers) => {
            let mut all = Vec::new();
            for (name, values) in headers {
                let values = if let Value::Array(values) = values { values } else { vec![values] };
                for value in values {
                    let Value::String(value) = value else {
                        return Err(format!("header `{name}` is no text"));
                    };
                    all.push((name.clone(), value));
                }
            }
            all
        }
    };
    let payload = match (payload, payload_base64) {
        (Some(_), Some(_)) => return Err("it has `payload` and `payload_base64`".to_owned()),
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => BASE64.decode(text.as_bytes()).map_err(|it| it.to_string())?,
        (None, None) => taken.payload.clone(),
    };
    let subject = subject.unwrap_or_else(|| taken.subject.clone());
    Ok(Made::Message { subject, headers, payload })
}

impl From<Made> for Given {
    fn from(made: Made) -> Self {
        match made {
            Made::Message { subject, headers, payload } => Self::Made { subject, headers, payload },
            Made::Rejected(_) | Made::Left => Self::Rejected,
        }
    }
}
