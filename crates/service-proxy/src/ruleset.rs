use std::collections::{BTreeMap, HashMap};

use apimachinery::ObjectKey;
use nft::{Data, Datum, Element, Transaction};

use crate::layout::{NodeFacts, Pick, empty_table, table};
use crate::plan::ServicePlan;

/// A place in the table: a set and a key in it.
type Place = (&'static str, Vec<Datum>);

/// What all services together need in the kernel, kept so that a change of one costs no more than that one.
///
/// Two services may want the same place (a pod behind both, or an external address given twice): it is kept while
/// somebody wants it, and where they differ the first by name has it.
#[derive(Default)]
pub struct Ruleset {
    plans: BTreeMap<ObjectKey, ServicePlan>,
    places: HashMap<Place, BTreeMap<ObjectKey, Element>>,
    picks: HashMap<Pick, usize>,
}

/// What was touched, as it was before: the difference to the ruleset is what the kernel must be told.
#[derive(Default)]
pub struct Delta {
    places: BTreeMap<Place, Option<Element>>,
    picks: BTreeMap<Pick, bool>,
}

impl Ruleset {
    pub fn plan(&self, service: &ObjectKey) -> Option<&ServicePlan> {
        self.plans.get(service)
    }

    pub fn services(&self) -> impl Iterator<Item = (&ObjectKey, &ServicePlan)> {
        self.plans.iter()
    }

    /// Puts the plan in the place of the service's former one; an empty plan takes the service out.
    pub fn set(&mut self, service: &ObjectKey, plan: ServicePlan, delta: &mut Delta) {
        let former = self.plans.remove(service).unwrap_or_default();
        for (set, element) in &former.elements {
            self.release((set, element.key.clone()), service, delta);
        }
        for (set, element) in &plan.elements {
            self.claim((set, element.key.clone()), service, element, delta);
        }
        for pick in &plan.picks {
            delta.picks.entry(*pick).or_insert_with(|| self.picks.contains_key(pick));
            *self.picks.entry(*pick).or_default() += 1;
        }
        former.picks.iter().for_each(|pick| self.release_pick(pick, delta));
        if plan != ServicePlan::default() {
            self.plans.insert(service.clone(), plan);
        }
    }

    fn claim(&mut self, place: Place, service: &ObjectKey, element: &Element, delta: &mut Delta) {
        delta.remember(&place, self.element(&place));
        self.places.entry(place).or_default().insert(service.clone(), element.clone());
    }

    fn release(&mut self, place: Place, service: &ObjectKey, delta: &mut Delta) {
        delta.remember(&place, self.element(&place));
        if let Some(claims) = self.places.get_mut(&place) {
            claims.remove(service);
            if claims.is_empty() {
                self.places.remove(&place);
            }
        }
    }

    fn release_pick(&mut self, pick: &Pick, delta: &mut Delta) {
        delta.picks.entry(*pick).or_insert(true);
        if let Some(users) = self.picks.get_mut(pick) {
            *users -= 1;
            if *users == 0 {
                self.picks.remove(pick);
            }
        }
    }

    fn element(&self, place: &Place) -> Option<&Element> {
        self.places.get(place)?.values().next()
    }

    /// The whole table, for a start or a repair.
    pub fn replace(&self, facts: &NodeFacts) -> Transaction {
        let mut t = empty_table(facts);
        let mut picks: Vec<_> = self.picks.keys().collect();
        picks.sort_unstable();
        picks.into_iter().for_each(|pick| add_pick(&mut t, pick));
        let mut elements: BTreeMap<&'static str, Vec<Element>> = BTreeMap::new();
        for (set, key) in self.places.keys() {
            elements.entry(set).or_default().extend(self.element(&(set, key.clone())).cloned());
        }
        elements.into_iter().for_each(|(set, elements)| t.add_elements(set, elements));
        t
    }

    /// The least transaction from what was to what is.
    pub fn transaction(&self, delta: &Delta) -> Transaction {
        let mut t = Transaction::new(table());
        let used = |pick: &Pick| self.picks.contains_key(pick);
        for pick in delta.picks.iter().filter(|(pick, was)| used(pick) && !**was).map(|(pick, _)| pick) {
            add_pick(&mut t, pick);
        }
        let (gone, new) = self.changed(delta);
        gone.into_iter().for_each(|(set, elements)| t.delete_elements(set, elements));
        new.into_iter().for_each(|(set, elements)| t.add_elements(set, elements));
        for pick in delta.picks.iter().filter(|(pick, was)| !used(pick) && **was).map(|(pick, _)| pick) {
            t.delete_chain(pick.to_string());
        }
        t
    }

    /// Elements to delete and to add, by set.
    fn changed(&self, delta: &Delta) -> (Elements, Elements) {
        let (mut gone, mut new) = (Elements::new(), Elements::new());
        for (place, before) in &delta.places {
            let after = self.element(place);
            if before.as_ref().map(meaning) == after.map(meaning) {
                continue;
            }
            gone.entry(place.0).or_default().extend(before.iter().map(|old| Element::key(old.key.clone())));
            new.entry(place.0).or_default().extend(after.cloned());
        }
        (gone, new)
    }
}

type Elements = BTreeMap<&'static str, Vec<Element>>;

/// What counts when elements are compared: a mere change of comment is none.
fn meaning(element: &Element) -> (&Vec<Datum>, &Option<Data>) {
    (&element.key, &element.data)
}

impl Delta {
    fn remember(&mut self, place: &Place, before: Option<&Element>) {
        if !self.places.contains_key(place) {
            self.places.insert(place.clone(), before.cloned());
        }
    }
}

fn add_pick(t: &mut Transaction, pick: &Pick) {
    let name = pick.to_string();
    t.add_chain(name.clone());
    pick.rules().into_iter().for_each(|rule| t.add_rule(name.clone(), rule));
}
