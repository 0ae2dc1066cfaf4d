//! Statements to the expressions of the kernel's small register machine.

use netlink::wire::Encoder;

use super::{DATA_VALUE, LIST_ELEMENT, comment_data, write_verdict};
use crate::{Bits, Operand, Operator, Rejection, Remember, Rule, Statement, Value, Verdict};

/// The verdict's own register, and the first of sixteen that hold four bytes each.
const VERDICT_REGISTER: u32 = 0;
const FIRST_REGISTER: u32 = 8;
const INTERFACE_NAME_LEN: usize = 16;
const ROUTE_LOCAL: u32 = 2;
const CT_STATE_NEW: u32 = 8;
const CT_STATUS_DNAT: u32 = 0x20;

pub(super) fn write(out: &mut Encoder, rule: &Rule) {
    out.nested(4, |out| {
        let mut expressions = Expressions { out };
        rule.statements.iter().for_each(|statement| expressions.statement(statement));
    });
    if let Some(comment) = &rule.comment {
        out.attribute(7, &comment_data(comment));
    }
}

struct Expressions<'a> {
    out: &'a mut Encoder,
}

impl Expressions<'_> {
    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Match { value, operator, operand } => self.compare(*value, *operator, operand),
            Statement::Lookup { key, set, negated } => self.member(key, set, *negated),
            Statement::Dispatch { key, map } => self.dispatch(key, map),
            Statement::Dnat { key, map, remember } => self.dnat(key, map, remember.as_ref()),
            Statement::Masquerade => self.expression("masq", |out| out.be32(1, 0x10)),
            Statement::SetMarkBits(bits) => self.change_mark(!bits, *bits),
            Statement::ClearMarkBits(bits) => self.change_mark(!bits, 0),
            Statement::Counter => self.expression("counter", |_| {}),
            Statement::Reject(rejection) => self.reject(*rejection),
            Statement::Verdict(verdict) => self.verdict(verdict),
        }
    }

    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Encoder)) {
        self.out.nested(LIST_ELEMENT, |out| {
            out.string(1, name);
            out.nested(2, fill);
        });
    }

    /// Loads the parts of a key into registers that follow one another.
    fn load_key(&mut self, key: &[Value], first: u32) {
        for (register, value) in (first..).zip(key) {
            self.load(*value, register);
        }
    }

    fn load(&mut self, value: Value, register: u32) {
        match value {
            Value::SourceAddress => self.payload(register, 1, 12, 4),
            Value::DestinationAddress => self.payload(register, 1, 16, 4),
            Value::DestinationPort => self.payload(register, 2, 2, 2),
            Value::Mark => self.meta(register, 3),
            Value::InputInterface => self.meta(register, 6),
            Value::OutputInterface => self.meta(register, 7),
            Value::Protocol => self.meta(register, 16),
            Value::ConnectionState => self.connection(register, 0),
            Value::ConnectionStatus => self.connection(register, 2),
            Value::SourceKind => self.fib(register, 1),
            Value::DestinationKind => self.fib(register, 2),
            Value::Random(modulus) => self.random(register, modulus),
            Value::Constant(address) => self.immediate(register, &address.octets()),
        }
    }

    fn payload(&mut self, register: u32, base: u32, offset: u32, length: u32) {
        self.expression("payload", |out| {
            out.be32(1, register);
            out.be32(2, base);
            out.be32(3, offset);
            out.be32(4, length);
        });
    }

    fn meta(&mut self, register: u32, key: u32) {
        self.expression("meta", |out| {
            out.be32(1, register);
            out.be32(2, key);
        });
    }

    fn connection(&mut self, register: u32, key: u32) {
        self.expression("ct", |out| {
            out.be32(1, register);
            out.be32(2, key);
        });
    }

    fn fib(&mut self, register: u32, flags: u32) {
        self.expression("fib", |out| {
            out.be32(1, register);
            out.be32(2, 3); // the kind of the address
            out.be32(3, flags);
        });
    }

    fn random(&mut self, register: u32, modulus: u32) {
        self.expression("numgen", |out| {
            out.be32(1, register);
            out.be32(2, modulus);
            out.be32(3, 1); // random
        });
    }

    fn immediate(&mut self, register: u32, bytes: &[u8]) {
        self.expression("immediate", |out| {
            out.be32(1, register);
            out.nested(2, |out| out.attribute(DATA_VALUE, bytes));
        });
    }

    fn compare(&mut self, value: Value, operator: Operator, operand: &Operand) {
        self.load(value, FIRST_REGISTER);
        match operand {
            Operand::Address(address) => self.cmp(operator, &address.octets()),
            Operand::Protocol(number) => self.cmp(operator, &[*number]),
            Operand::Port(port) => self.cmp(operator, &port.to_be_bytes()),
            Operand::Interface(name) => self.cmp(operator, &interface_bytes(name)),
            Operand::Local => self.cmp(operator, &ROUTE_LOCAL.to_ne_bytes()),
            Operand::Prefix(prefix) => {
                self.bitwise(&prefix.mask().to_be_bytes(), &[0; 4]);
                self.cmp(operator, &prefix.network().octets());
            }
            Operand::Bits(bits) => {
                self.bitwise(&bit_mask(*bits).to_ne_bytes(), &[0; 4]);
                self.cmp(inverse(operator), &[0; 4]);
            }
        }
    }

    fn cmp(&mut self, operator: Operator, bytes: &[u8]) {
        self.expression("cmp", |out| {
            out.be32(1, FIRST_REGISTER);
            out.be32(2, if operator == Operator::Equal { 0 } else { 1 });
            out.nested(3, |out| out.attribute(DATA_VALUE, bytes));
        });
    }

    fn bitwise(&mut self, mask: &[u8; 4], xor: &[u8; 4]) {
        self.expression("bitwise", |out| {
            out.be32(1, FIRST_REGISTER);
            out.be32(2, FIRST_REGISTER);
            out.be32(3, 4);
            out.nested(4, |out| out.attribute(DATA_VALUE, mask));
            out.nested(5, |out| out.attribute(DATA_VALUE, xor));
        });
    }

    fn member(&mut self, key: &[Value], set: &str, negated: bool) {
        self.load_key(key, FIRST_REGISTER);
        self.expression("lookup", |out| {
            out.string(1, set);
            out.be32(2, FIRST_REGISTER);
            if negated {
                out.be32(5, 1);
            }
        });
    }

    fn dispatch(&mut self, key: &[Value], map: &str) {
        self.load_key(key, FIRST_REGISTER);
        self.lookup(map, FIRST_REGISTER, VERDICT_REGISTER);
    }

    fn lookup(&mut self, map: &str, from: u32, to: u32) {
        self.expression("lookup", |out| {
            out.string(1, map);
            out.be32(2, from);
            out.be32(3, to);
        });
    }

    /// The found address and port stay in two registers behind the keys, for the memory and for the translation.
    fn dnat(&mut self, key: &[Value], map: &str, remember: Option<&Remember>) {
        let found = FIRST_REGISTER + 8;
        self.load_key(key, FIRST_REGISTER);
        self.lookup(map, FIRST_REGISTER, found);
        if let Some(remember) = remember {
            self.load_key(&remember.key, FIRST_REGISTER);
            self.update(remember, FIRST_REGISTER, found);
        }
        self.expression("nat", |out| {
            out.be32(1, 1); // destination
            out.be32(2, 2); // IPv4
            out.be32(3, found);
            out.be32(5, found + 1);
        });
    }

    fn update(&mut self, remember: &Remember, key: u32, data: u32) {
        let milliseconds = u64::try_from(remember.timeout.as_millis()).unwrap_or(u64::MAX);
        self.expression("dynset", |out| {
            out.string(1, &remember.map);
            out.be32(3, 1); // update
            out.be32(4, key);
            out.be32(5, data);
            out.attribute(6, &milliseconds.to_be_bytes());
        });
    }

    fn change_mark(&mut self, mask: u32, xor: u32) {
        self.meta(FIRST_REGISTER, 3);
        self.bitwise(&mask.to_ne_bytes(), &xor.to_ne_bytes());
        self.expression("meta", |out| {
            out.be32(2, 3);
            out.be32(3, FIRST_REGISTER);
        });
    }

    fn reject(&mut self, rejection: Rejection) {
        self.expression("reject", |out| match rejection {
            Rejection::TcpReset => out.be32(1, 1),
            Rejection::PortUnreachable => {
                out.be32(1, 0);
                out.attribute(2, &[3]);
            }
        });
    }

    fn verdict(&mut self, verdict: &Verdict) {
        self.expression("immediate", |out| {
            out.be32(1, VERDICT_REGISTER);
            out.nested(2, |out| write_verdict(out, verdict));
        });
    }
}

fn inverse(operator: Operator) -> Operator {
    match operator {
        Operator::Equal => Operator::NotEqual,
        Operator::NotEqual => Operator::Equal,
    }
}

fn bit_mask(bits: Bits) -> u32 {
    match bits {
        Bits::New => CT_STATE_NEW,
        Bits::Dnat => CT_STATUS_DNAT,
        Bits::Mark(mask) => mask,
    }
}

fn interface_bytes(name: &str) -> [u8; INTERFACE_NAME_LEN] {
    let mut bytes = [0; INTERFACE_NAME_LEN];
    for (slot, byte) in bytes.iter_mut().zip(name.bytes()) {
        *slot = byte;
    }
    bytes
}
