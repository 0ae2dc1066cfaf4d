use std::collections::BTreeMap;

use apimachinery::ObjectKey;
use nft::conntrack::Conntrack;
use nft::{Change, Data, Datum, Element, Error, Nft, Transaction};

use crate::connections::{UdpFrontend, stale};
use crate::layout::{AFFINITY, ENDPOINTS, LOCAL_AFFINITY, LOCAL_ENDPOINTS, NodeFacts, TABLE, table};
use crate::plan::ServicePlan;
use crate::ruleset::{Delta, Ruleset};

const UDP: u8 = 17;

/// The ruleset and the kernel's table, kept alike.
pub struct Rules {
    facts: NodeFacts,
    nft: Box<dyn Nft>,
    conntrack: Box<dyn Conntrack>,
    ruleset: Ruleset,
    /// The kernel's table is known to be what the ruleset was before the last change.
    in_step: bool,
}

impl Rules {
    pub fn new(facts: NodeFacts, nft: Box<dyn Nft>, conntrack: Box<dyn Conntrack>) -> Self {
        Self { facts, nft, conntrack, ruleset: Ruleset::default(), in_step: false }
    }

    pub fn facts(&self) -> &NodeFacts {
        &self.facts
    }

    pub fn ruleset(&self) -> &Ruleset {
        &self.ruleset
    }

    /// The kernel has what the ruleset says; if not, [`Rules::restore`] brings it there.
    pub fn in_step(&self) -> bool {
        self.in_step
    }

    /// Takes up new plans, in the kernel too. After an error the kernel is out of step with them.
    pub fn update(&mut self, plans: Vec<(ObjectKey, ServicePlan)>) -> Result<(), Error> {
        let udp = self.changed_udp(&plans);
        let sticky = plans.iter().any(|(service, plan)| self.lost_sticky_endpoints(service, plan));
        let mut delta = Delta::default();
        for (service, plan) in plans {
            self.ruleset.set(&service, plan, &mut delta);
        }
        match self.in_step {
            true => self.apply(&self.ruleset.transaction(&delta))?,
            false => self.apply(&self.ruleset.replace(&self.facts))?,
        }
        if sticky {
            self.forget_clients_of_lost_endpoints()?;
        }
        self.forget_connections(&udp)
    }

    /// Sets the whole table anew.
    pub fn restore(&mut self) -> Result<(), Error> {
        self.apply(&self.ruleset.replace(&self.facts))
    }

    fn apply(&mut self, transaction: &Transaction) -> Result<(), Error> {
        self.in_step = false;
        self.nft.apply(transaction)?;
        self.in_step = true;
        Ok(())
    }

    /// Whether the kernel's table lacks something, in words.
    pub fn missing(&self) -> Result<Option<String>, Error> {
        let Some(listing) = self.nft.list(&table())? else {
            return Ok(Some("the table".to_owned()));
        };
        let wanted = self.ruleset.replace(&self.facts);
        let mut differences = Vec::new();
        for (set, count) in element_counts(&wanted) {
            let there = listing.sets.get(&set).map_or(0, Vec::len);
            if there < count {
                differences.push(format!("{} elements of {set}", count - there));
            }
        }
        for (chain, count) in rule_counts(&wanted) {
            let there = listing.chains.get(&chain).map_or(0, |chain| chain.rules.len());
            if there < count {
                differences.push(format!("{} rules of chain {chain}", count - there));
            }
        }
        Ok((!differences.is_empty()).then(|| differences.join(", ")))
    }

    /// The UDP addresses whose endpoints the plans change, as they will be.
    fn changed_udp(&self, plans: &[(ObjectKey, ServicePlan)]) -> Vec<UdpFrontend> {
        let mut changed = Vec::new();
        for (service, plan) in plans {
            let before = self.ruleset.plan(service).map(|plan| plan.udp.as_slice()).unwrap_or_default();
            if before == plan.udp {
                continue;
            }
            let still =
                |old: &&UdpFrontend| plan.udp.iter().any(|new| (new.address, new.port) == (old.address, old.port));
            let ended = before.iter().filter(|old| !still(old));
            changed.extend(ended.map(|old| UdpFrontend { backends: Default::default(), ..old.clone() }));
            changed.extend(plan.udp.iter().cloned());
        }
        changed
    }

    fn forget_connections(&self, frontends: &[UdpFrontend]) -> Result<(), Error> {
        if frontends.is_empty() {
            return Ok(());
        }
        let connections = self.conntrack.connections(UDP)?;
        stale(&connections, frontends).into_iter().try_for_each(|connection| self.conntrack.forget(connection))
    }

    fn lost_sticky_endpoints(&self, service: &ObjectKey, plan: &ServicePlan) -> bool {
        self.ruleset.plan(service).is_some_and(|before| {
            before.picks.iter().any(|pick| pick.sticky.is_some()) && before.elements != plan.elements
        })
    }

    /// Takes out the clients whose endpoint is not among those of the address any more.
    fn forget_clients_of_lost_endpoints(&self) -> Result<(), Error> {
        let Some(listing) = self.nft.list(&table())? else {
            return Ok(());
        };
        for (affinity, endpoints) in [(AFFINITY, ENDPOINTS), (LOCAL_AFFINITY, LOCAL_ENDPOINTS)] {
            let valid = listing.sets.get(endpoints).map(|elements| targets(elements)).unwrap_or_default();
            for client in listing.sets.get(affinity).into_iter().flatten() {
                if !leads_to_one_of(client, &valid) {
                    self.forget_client(affinity, client)?;
                }
            }
        }
        Ok(())
    }

    fn forget_client(&self, affinity: &str, client: &Element) -> Result<(), Error> {
        let mut t = Transaction::new(table());
        t.delete_elements(affinity, vec![Element::key(client.key.clone())]);
        match self.nft.apply(&t) {
            // Its time ran out meanwhile.
            Err(error) if error.is_absent() => Ok(()),
            other => other,
        }
    }
}

/// The targets of each address, protocol and port.
fn targets(elements: &[Element]) -> BTreeMap<&[Datum], Vec<&Data>> {
    let mut targets: BTreeMap<&[Datum], Vec<&Data>> = BTreeMap::new();
    for element in elements {
        let Some(frontend) = element.key.get(..3) else { continue };
        targets.entry(frontend).or_default().extend(&element.data);
    }
    targets
}

/// A client's key is its own address, then the service's address, protocol and port.
fn leads_to_one_of(client: &Element, valid: &BTreeMap<&[Datum], Vec<&Data>>) -> bool {
    let frontend = client.key.get(1..).unwrap_or_default();
    let there = valid.get(frontend);
    there.is_some_and(|targets| client.data.as_ref().is_some_and(|data| targets.contains(&data)))
}

fn element_counts(transaction: &Transaction) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for op in &transaction.ops {
        if let nft::Op::AddElements { set, elements } = op {
            *counts.entry(set.clone()).or_default() += elements.len();
        }
    }
    counts
}

fn rule_counts(transaction: &Transaction) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for op in &transaction.ops {
        if let nft::Op::AddRule { chain, .. } = op {
            *counts.entry(chain.clone()).or_default() += 1;
        }
    }
    counts
}

/// What others removed from our table, in words: `table`, or `3 × element of services, chain pick-2`.
pub(crate) fn removed_by_others(changes: &[Change]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for change in changes.iter().filter(|change| change.table == TABLE && !is_affinity(change)) {
        *counts.entry(change.object.as_str()).or_default() += 1;
    }
    if counts.contains_key("table") {
        return Some("the table".to_owned());
    }
    let words = counts.iter().map(|(object, count)| match count {
        1 => (*object).to_owned(),
        many => format!("{many} × {object}"),
    });
    (!counts.is_empty()).then(|| words.collect::<Vec<_>>().join(", "))
}

/// Packets themselves change these.
fn is_affinity(change: &Change) -> bool {
    [AFFINITY, LOCAL_AFFINITY].iter().any(|map| change.object.ends_with(&format!(" {map}")))
}
