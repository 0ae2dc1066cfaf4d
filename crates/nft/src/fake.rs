use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::{
    Chain, Data, DataKind, DataType, Datum, Element, Error, ListedChain, Listing, Nft, Op, Rule, Set, Statement, Table,
    Transaction, Value, Verdict,
};

const NAME_LEN_MAX: usize = 255;

/// Tables in memory that refuse what the kernel would refuse: names that are missing, keys of the wrong type, verdicts to
/// chains that do not exist, chains still in use.
#[derive(Default)]
pub struct Fake {
    tables: Mutex<BTreeMap<Table, FakeTable>>,
}

#[derive(Clone, Default)]
struct FakeTable {
    chains: BTreeMap<String, (Chain, Vec<Rule>)>,
    sets: BTreeMap<String, (Set, BTreeMap<Vec<Datum>, Element>)>,
}

impl Fake {
    pub fn new() -> Self {
        Self::default()
    }
}

impl Nft for Fake {
    fn apply(&self, transaction: &Transaction) -> Result<(), Error> {
        let mut tables = self.tables.lock();
        let mut changed = tables.get(&transaction.table).cloned();
        for op in &transaction.ops {
            apply_op(&mut changed, op)
                .map_err(|reason| Error::Invalid { operation: op.in_table(&transaction.table).to_string(), reason })?;
        }
        match changed {
            Some(table) => tables.insert(transaction.table.clone(), table),
            None => tables.remove(&transaction.table),
        };
        Ok(())
    }

    fn list(&self, table: &Table) -> Result<Option<Listing>, Error> {
        Ok(self.tables.lock().get(table).map(FakeTable::listing))
    }
}

fn apply_op(table: &mut Option<FakeTable>, op: &Op) -> Result<(), String> {
    match op {
        Op::AddTable => {
            table.get_or_insert_default();
            Ok(())
        }
        Op::DeleteTable => table.take().map(drop).ok_or_else(|| "no such table".to_owned()),
        other => table.as_mut().ok_or_else(|| "no such table".to_owned())?.apply(other),
    }
}

impl FakeTable {
    fn apply(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::AddTable | Op::DeleteTable => Ok(()),
            Op::AddChain(chain) => self.add_chain(chain),
            Op::FlushChain(name) => self.chain(name).map(|(_, rules)| rules.clear()),
            Op::DeleteChain(name) => self.delete_chain(name),
            Op::AddRule { chain, rule } => self.add_rule(chain, rule),
            Op::AddSet(set) => self.add_set(set),
            Op::DeleteSet(name) => self.delete_set(name),
            Op::FlushSet(name) => self.set(name).map(|(_, elements)| elements.clear()),
            Op::AddElements { set, elements } => elements.iter().try_for_each(|element| self.add_element(set, element)),
            Op::DeleteElements { set, elements } => {
                elements.iter().try_for_each(|element| self.delete_element(set, element))
            }
        }
    }

    fn chain(&mut self, name: &str) -> Result<&mut (Chain, Vec<Rule>), String> {
        self.chains.get_mut(name).ok_or_else(|| format!("no such chain {name:?}"))
    }

    fn set(&mut self, name: &str) -> Result<&mut (Set, BTreeMap<Vec<Datum>, Element>), String> {
        self.sets.get_mut(name).ok_or_else(|| format!("no such set {name:?}"))
    }

    fn add_chain(&mut self, chain: &Chain) -> Result<(), String> {
        check_name(&chain.name)?;
        self.chains.entry(chain.name.clone()).or_insert_with(|| (chain.clone(), Vec::new()));
        Ok(())
    }

    fn delete_chain(&mut self, name: &str) -> Result<(), String> {
        self.chain(name)?;
        if self.is_target(name) {
            return Err(format!("chain {name:?} is in use"));
        }
        self.chains.remove(name);
        Ok(())
    }

    fn is_target(&self, name: &str) -> bool {
        let of_rule = |rule: &Rule| {
            rule.statements.iter().any(|statement| match statement {
                Statement::Verdict(verdict) => verdict.chain() == Some(name),
                _ => false,
            })
        };
        let of_element = |element: &Element| match &element.data {
            Some(Data::Verdict(verdict)) => verdict.chain() == Some(name),
            _ => false,
        };
        self.chains.values().any(|(_, rules)| rules.iter().any(of_rule))
            || self.sets.values().any(|(_, elements)| elements.values().any(of_element))
    }

    fn add_rule(&mut self, chain: &str, rule: &Rule) -> Result<(), String> {
        rule.statements.iter().try_for_each(|statement| self.check_statement(statement))?;
        self.chain(chain)?.1.push(rule.clone());
        Ok(())
    }

    fn check_statement(&self, statement: &Statement) -> Result<(), String> {
        match statement {
            Statement::Lookup { key, set, .. } => self.check_lookup(key, set, None),
            Statement::Dispatch { key, map } => self.check_lookup(key, map, Some(&DataKind::Verdict)),
            Statement::Dnat { key, map, remember } => {
                let target = DataKind::Values(vec![DataType::Ipv4Addr, DataType::InetService]);
                self.check_lookup(key, map, Some(&target))?;
                match remember {
                    None => Ok(()),
                    Some(remember) => self.check_lookup(&remember.key, &remember.map, Some(&target)),
                }
            }
            Statement::Verdict(verdict) => self.check_verdict(verdict),
            _ => Ok(()),
        }
    }

    fn check_lookup(&self, key: &[Value], name: &str, data: Option<&DataKind>) -> Result<(), String> {
        let (set, _) = self.sets.get(name).ok_or_else(|| format!("no such set {name:?}"))?;
        let types: Option<Vec<_>> = key.iter().map(|value| value.data_type()).collect();
        if types.as_ref() != Some(&set.key) {
            return Err(format!("set {name:?} has keys of {:?}, not {types:?}", set.key));
        }
        match data.is_some() && set.data.as_ref() != data {
            true => Err(format!("set {name:?} holds {:?}, not {data:?}", set.data)),
            false => Ok(()),
        }
    }

    fn check_verdict(&self, verdict: &Verdict) -> Result<(), String> {
        match verdict.chain() {
            Some(chain) if !self.chains.contains_key(chain) => Err(format!("no such chain {chain:?}")),
            _ => Ok(()),
        }
    }

    fn add_set(&mut self, set: &Set) -> Result<(), String> {
        check_name(&set.name)?;
        match self.sets.get(&set.name) {
            Some((old, _)) if old != set => Err(format!("set {:?} exists and differs", set.name)),
            Some(_) => Ok(()),
            None => {
                self.sets.insert(set.name.clone(), (set.clone(), BTreeMap::new()));
                Ok(())
            }
        }
    }

    fn delete_set(&mut self, name: &str) -> Result<(), String> {
        self.set(name)?;
        let uses = |statement: &Statement| match statement {
            Statement::Lookup { set, .. } => set == name,
            Statement::Dispatch { map, .. } => map == name,
            Statement::Dnat { map, remember, .. } => map == name || remember.as_ref().is_some_and(|r| r.map == name),
            _ => false,
        };
        let in_use = self.chains.values().flat_map(|(_, rules)| rules).any(|rule| rule.statements.iter().any(uses));
        match in_use {
            true => Err(format!("set {name:?} is in use")),
            false => {
                self.sets.remove(name);
                Ok(())
            }
        }
    }

    fn add_element(&mut self, name: &str, element: &Element) -> Result<(), String> {
        if let Some(Data::Verdict(verdict)) = &element.data {
            self.check_verdict(verdict)?;
        }
        let (set, elements) = self.set(name)?;
        check_element(set, element)?;
        match elements.get(&element.key) {
            Some(old) if old.data != element.data => Err("the key exists with other data".to_owned()),
            Some(_) => Ok(()),
            None => {
                elements.insert(element.key.clone(), element.clone());
                Ok(())
            }
        }
    }

    fn delete_element(&mut self, name: &str, element: &Element) -> Result<(), String> {
        let removed = self.set(name)?.1.remove(&element.key);
        removed.map(drop).ok_or_else(|| "no such element".to_owned())
    }

    fn listing(&self) -> Listing {
        let chains = self.chains.iter().map(|(name, (chain, rules))| {
            let rules = rules.iter().map(|rule| rule.comment.clone()).collect();
            (name.clone(), ListedChain { hooked: chain.hook.is_some(), rules })
        });
        let sets = self.sets.iter().map(|(name, (_, elements))| (name.clone(), elements.values().cloned().collect()));
        Listing { chains: chains.collect(), sets: sets.collect() }
    }
}

fn check_name(name: &str) -> Result<(), String> {
    match name.is_empty() || name.len() > NAME_LEN_MAX {
        true => Err(format!("a name has 1 to {NAME_LEN_MAX} characters")),
        false => Ok(()),
    }
}

fn check_element(set: &Set, element: &Element) -> Result<(), String> {
    let types: Vec<_> = element.key.iter().map(|part| part.data_type()).collect();
    if types != set.key {
        return Err(format!("the key is {types:?}, not {:?}", set.key));
    }
    if !set.interval && element.key.iter().any(|part| matches!(part, Datum::Prefix(_))) {
        return Err("a prefix needs an interval set".to_owned());
    }
    let fits = match (&set.data, &element.data) {
        (None, None) | (Some(DataKind::Verdict), Some(Data::Verdict(_))) => true,
        (Some(DataKind::Values(types)), Some(Data::Values(values))) => {
            values.iter().map(|value| value.data_type()).eq(types.iter().copied())
        }
        _ => false,
    };
    fits.then_some(()).ok_or_else(|| format!("the data is {:?}, not {:?}", element.data, set.data))
}
