//! One directive: its names, and how its setting is read, shown and written to a file.

use super::kind::{ConfigError, Kind, Lines, Value};
use super::table::{Config, DIRECTIVES};

/// One entry of the table of directives.
pub(crate) struct Directive {
    pub(crate) name: &'static str,
    /// Another name that means the same, if there is one.
    pub(crate) alias: &'static [&'static str],
    pub(super) kind: Kind,
    pub(crate) traits: Traits,
    pub(super) load: fn(&Config) -> Value,
    pub(super) store: fn(&mut Config, Value),
}

/// What is special about a directive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traits {
    /// It can only be set at the start.
    pub(crate) immutable: bool,
    /// CONFIG SET needs `enable-protected-configs`.
    pub(crate) protected: bool,
    /// It has no effect yet.
    pub(crate) kept: bool,
    /// Patterns do not find it.
    pub(crate) hidden: bool,
    /// The driver has to do something when it changes, and can fail.
    pub(crate) outside: bool,
}

impl Traits {
    pub(super) const NONE: Self = Self {
        immutable: false,
        protected: false,
        kept: false,
        hidden: false,
        outside: false,
    };

    pub(super) const fn immutable(self) -> Self {
        Self {
            immutable: true,
            ..self
        }
    }

    pub(super) const fn protected(self) -> Self {
        Self {
            protected: true,
            ..self
        }
    }

    pub(super) const fn kept(self) -> Self {
        Self { kept: true, ..self }
    }

    pub(super) const fn hidden(self) -> Self {
        Self {
            hidden: true,
            ..self
        }
    }

    pub(super) const fn outside(self) -> Self {
        Self {
            outside: true,
            ..self
        }
    }
}

impl core::fmt::Debug for Directive {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name)
    }
}

impl Directive {
    pub(crate) fn all() -> &'static [Self] {
        DIRECTIVES
    }

    /// The directive of that name, in any case, and the name as the table has it: an alias stays
    /// one.
    pub(crate) fn find(name: &str) -> Option<(&'static Self, &'static str)> {
        DIRECTIVES.iter().find_map(|directive| {
            let mut names = directive.names();
            let name = names.find(|other| other.eq_ignore_ascii_case(name))?;
            Some((directive, name))
        })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        core::iter::once(self.name).chain(self.alias.iter().copied())
    }

    /// Gives the one settings the value that the others have.
    pub(crate) fn copy(&self, from: &Config, to: &mut Config) {
        (self.store)(to, (self.load)(from));
    }

    /// What CONFIG GET shows.
    pub(crate) fn show(&self, config: &Config) -> String {
        self.kind.show(&(self.load)(config))
    }

    /// Whether a value may be several words.
    pub(crate) fn takes_words(&self) -> bool {
        self.kind.takes_words()
    }

    /// Sets it to what CONFIG SET gives: one text, in which spaces part words.
    pub(crate) fn set(&self, config: &mut Config, text: &str) -> Result<(), ConfigError> {
        if !self.takes_words() {
            return self.set_words(config, &[text], true);
        }
        let words: Vec<&str> = text.split(' ').collect();
        let is_empty = text.is_empty();
        self.set_words(config, if is_empty { &[] } else { &words }, true)
    }

    /// Sets it to words; `afresh` unless a line before in the same file has set it, too.
    pub(crate) fn set_words(
        &self,
        config: &mut Config,
        words: &[&str],
        afresh: bool,
    ) -> Result<(), ConfigError> {
        let old = match self.kind {
            Kind::Words(kind) if kind.accumulates && afresh => Value::Words(Vec::new()),
            _ => (self.load)(config),
        };
        let value = self.kind.read(words, old)?;
        (self.store)(config, value);
        Ok(())
    }

    pub(super) fn lines(&self, config: &Config, defaults: &Config) -> Lines {
        self.kind
            .lines(&(self.load)(config), &(self.load)(defaults))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directive_takes_what_it_shows() {
        let defaults = Config::default();
        for directive in Directive::all() {
            let mut config = defaults.clone();
            (directive.store)(&mut config, (directive.load)(&defaults));
            let shown = directive.show(&defaults);
            let outcome = directive.set(&mut config, &shown);
            // Nobody is followed by default, which is not said with an empty text.
            assert!(
                outcome.is_ok() || directive.name == "replicaof",
                "{}",
                directive.name
            );
            assert_eq!(config, defaults, "{}", directive.name);
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = Directive::all().iter().flat_map(Directive::names).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
