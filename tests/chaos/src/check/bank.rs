//! Accounts between which money is moved in transactions that also log it: the log is a list like
//! any other, and the accounts must hold what it says.

use super::{Fault, Findings, List, judge_list};
use crate::history::{Losses, Token};

pub(crate) const ACCOUNTS: usize = 4;
/// What each account holds in the beginning.
pub(crate) const OPENING: i64 = 1_000_000;

/// A line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub token: Token,
    pub from: u8,
    pub to: u8,
    pub amount: u32,
}

impl Entry {
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut fields = text.split(|byte| *byte == b':');
        let token = Token::parse(fields.next()?)?;
        let mut number = || str::from_utf8(fields.next()?).ok()?.parse::<u32>().ok();
        let account = |number: Option<u32>| {
            u8::try_from(number?)
                .ok()
                .filter(|number| usize::from(*number) < ACCOUNTS)
        };
        let (from, to) = (account(number())?, account(number())?);
        Some(Self {
            token,
            from,
            to,
            amount: number()?,
        })
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{}:{}:{}:{}",
            self.token, self.from, self.to, self.amount
        )
    }
}

/// What one bank's log went through, and what it and the accounts hold at the end.
#[derive(Clone, Copy, Debug)]
pub struct Bank<'run> {
    pub log: List<'run>,
    pub entries: &'run [Entry],
    pub balances: &'run [i64],
}

/// Judges one bank.
pub fn judge_bank(bank: Bank<'_>, losses: &Losses) -> Findings {
    let mut findings = judge_list(bank.log, losses);
    let mut expected = [OPENING; ACCOUNTS];
    for entry in bank.entries {
        expected[usize::from(entry.from)] -= i64::from(entry.amount);
        expected[usize::from(entry.to)] += i64::from(entry.amount);
    }
    if bank.balances != expected {
        findings.add(Fault::Torn, || {
            format!("accounts hold {:?}, by the log {expected:?}", bank.balances)
        });
    }
    findings
}

/// Whether accounts read at one moment hold the sum that they must.
pub(crate) fn is_whole(balances: &[i64]) -> bool {
    balances.len() == ACCOUNTS && balances.iter().sum::<i64>() == OPENING * 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Outcome, Push, Span};

    #[test]
    fn a_torn_transaction_is_found() {
        let token = Token::new(1, 1);
        let entry = Entry {
            token,
            from: 0,
            to: 2,
            amount: 30,
        };
        assert_eq!(Entry::parse(entry.to_string().as_bytes()), Some(entry));
        let span = Span { start: 1, end: 2 };
        let push = Push {
            list: 0,
            token,
            outcome: Outcome::Done,
            place: 1,
            span,
        };
        let judge = |balances: [i64; 4], logged: bool| {
            let entries = if logged { vec![entry] } else { Vec::new() };
            let held: Vec<Token> = entries.iter().map(|entry| entry.token).collect();
            let log = List {
                pushes: &[push],
                ranges: &[],
                held: &held,
            };
            let bank = Bank {
                log,
                entries: &entries,
                balances: &balances,
            };
            judge_bank(bank, &Losses::default())
        };
        let moved = [OPENING - 30, OPENING, OPENING + 30, OPENING];
        assert!(is_whole(&moved));
        assert_eq!(judge(moved, true).faults(), 0);
        let half = [OPENING - 30, OPENING, OPENING, OPENING];
        assert!(!is_whole(&half));
        assert_eq!(judge(half, true).count(Fault::Torn), 1);
        let unlogged = judge(moved, false);
        assert_eq!(
            (unlogged.count(Fault::Torn), unlogged.count(Fault::Lost)),
            (1, 1)
        );
    }
}
