//! Which functions there are, and what they take.

use super::wants::Want::{self, Any, Free, List, Map, Number, Text, Texts, Truth};
use super::wants::World;
use super::{addresses, dates, encoding, formats, lists, numbers, sets, strings};
use crate::value::Value;

/// What a function does with arguments that are what it wants.
pub type Run = fn(&[Value], &World) -> Result<Value, String>;

/// A parameter: its name in messages, and what it takes.
pub type Parameter = (&'static str, Want);

/// A function.
pub struct Function {
    name: &'static str,
    /// The parameters.
    pub takes: &'static [Parameter],
    /// What further arguments are, if there may be any.
    pub rest: Option<Parameter>,
    /// What it does.
    pub run: Run,
}

/// The function of a name.
pub fn find(name: &str) -> Option<&'static Function> {
    GROUPS
        .iter()
        .flat_map(|group| group.iter())
        .find(|one| one.name == name)
}

const GROUPS: &[&[Function]] = &[
    NUMBERS, TRUTH, STRINGS, LISTS, SETS, ENCODINGS, ADDRESSES, TIMES,
];

const fn with(name: &'static str, takes: &'static [Parameter], run: Run) -> Function {
    Function {
        name,
        takes,
        rest: None,
        run,
    }
}

const fn and_more(
    name: &'static str,
    takes: &'static [Parameter],
    rest: Parameter,
    run: Run,
) -> Function {
    Function {
        name,
        takes,
        rest: Some(rest),
        run,
    }
}

const NUM: &[Parameter] = &[("num", Number)];
const TWO: &[Parameter] = &[("a", Number), ("b", Number)];
const STR: &[Parameter] = &[("str", Text)];

const NUMBERS: &[Function] = &[
    with("absolute", NUM, numbers::absolute),
    with("add", TWO, numbers::add),
    with("ceil", NUM, numbers::ceil),
    with("divide", TWO, numbers::divide),
    with("floor", NUM, numbers::floor),
    with("int", NUM, numbers::int),
    with("log", &[("num", Number), ("base", Number)], numbers::log),
    and_more("max", &[], ("numbers", Number), numbers::max),
    and_more("min", &[], ("numbers", Number), numbers::min),
    with("modulo", TWO, numbers::modulo),
    with("multiply", TWO, numbers::multiply),
    with("negate", NUM, numbers::negate),
    with(
        "parseint",
        &[("number", Text), ("base", Number)],
        numbers::parse_int,
    ),
    with("pow", &[("num", Number), ("power", Number)], numbers::pow),
    with("signum", NUM, numbers::signum),
    with("subtract", TWO, numbers::subtract),
];

const TRUTH: &[Function] = &[
    with("and", &[("a", Truth), ("b", Truth)], numbers::and),
    with("equal", &[("a", Free), ("b", Free)], numbers::equal),
    with("greaterthan", TWO, numbers::greater),
    with("greaterthanorequalto", TWO, numbers::greater_or_equal),
    with("lessthan", TWO, numbers::less),
    with("lessthanorequalto", TWO, numbers::less_or_equal),
    with("not", &[("val", Truth)], numbers::not),
    with("notequal", &[("a", Free), ("b", Free)], numbers::not_equal),
    with("or", &[("a", Truth), ("b", Truth)], numbers::or),
];

const STRINGS: &[Function] = &[
    with("basename", &[("path", Text)], strings::basename),
    with("chomp", STR, strings::chomp),
    with("dirname", &[("path", Text)], strings::dirname),
    and_more(
        "format",
        &[("format", Text)],
        ("args", Free),
        formats::format,
    ),
    and_more(
        "formatlist",
        &[("format", Text)],
        ("args", Free),
        formats::format_list,
    ),
    with("homedir", &[], strings::homedir),
    with(
        "indent",
        &[("spaces", Number), ("str", Text)],
        strings::indent,
    ),
    and_more(
        "join",
        &[("separator", Text)],
        ("lists", Texts),
        strings::join,
    ),
    with("lower", STR, strings::lower),
    with(
        "regex",
        &[("pattern", Text), ("string", Text)],
        strings::regex,
    ),
    with(
        "regex_replace",
        &[("str", Text), ("pattern", Text), ("replace", Text)],
        strings::regex_replace,
    ),
    with(
        "regexall",
        &[("pattern", Text), ("string", Text)],
        strings::regex_all,
    ),
    with(
        "replace",
        &[("str", Text), ("substr", Text), ("replace", Text)],
        strings::replace,
    ),
    with("reverse", STR, strings::reverse),
    with("sanitize", &[("name", Text)], strings::sanitize),
    with(
        "split",
        &[("separator", Text), ("str", Text)],
        strings::split,
    ),
    with("strlen", STR, strings::strlen),
    with(
        "substr",
        &[("str", Text), ("offset", Number), ("length", Number)],
        strings::substr,
    ),
    with("title", STR, strings::title),
    with("trim", &[("str", Text), ("cutset", Text)], strings::trim),
    with(
        "trimprefix",
        &[("str", Text), ("prefix", Text)],
        strings::trim_prefix,
    ),
    with("trimspace", STR, strings::trim_space),
    with(
        "trimsuffix",
        &[("str", Text), ("suffix", Text)],
        strings::trim_suffix,
    ),
    with("upper", STR, strings::upper),
];

const LISTS: &[Function] = &[
    with(
        "chunklist",
        &[("list", List), ("size", Number)],
        lists::chunk,
    ),
    and_more("coalesce", &[], ("vals", Free), lists::coalesce),
    and_more("coalescelist", &[], ("vals", Free), lists::coalesce_list),
    with("compact", &[("list", Texts)], lists::compact),
    and_more("concat", &[], ("seqs", List), lists::concat),
    with(
        "contains",
        &[("list", List), ("value", Free)],
        lists::contains,
    ),
    with("distinct", &[("list", List)], lists::distinct),
    with(
        "element",
        &[("list", List), ("index", Number)],
        lists::element,
    ),
    with("flatten", &[("list", List)], lists::flatten),
    with(
        "hasindex",
        &[("collection", Any), ("key", Any)],
        lists::has_index,
    ),
    with("index", &[("collection", Any), ("key", Any)], lists::index),
    with(
        "indexof",
        &[("list", List), ("value", Free)],
        lists::index_of,
    ),
    with("keys", &[("inputMap", Map)], lists::keys),
    with("length", &[("collection", Any)], lists::length),
    with(
        "lookup",
        &[("inputMap", Map), ("key", Text), ("default", Free)],
        lists::lookup,
    ),
    and_more("merge", &[], ("maps", Free), lists::merge),
    and_more("range", &[], ("params", Number), lists::range),
    with("reverselist", &[("list", List)], lists::reverse),
    with(
        "slice",
        &[
            ("list", List),
            ("start_index", Number),
            ("end_index", Number),
        ],
        lists::slice,
    ),
    with("sort", &[("list", Texts)], lists::sort),
    with("values", &[("mapping", Map)], lists::values),
    with(
        "zipmap",
        &[("keys", Texts), ("values", List)],
        lists::zip_map,
    ),
];

const SETS: &[Function] = &[
    with(
        "sethaselement",
        &[("set", List), ("elem", Free)],
        lists::contains,
    ),
    and_more(
        "setintersection",
        &[("first_set", List)],
        ("other_sets", List),
        sets::intersection,
    ),
    and_more("setproduct", &[], ("sets", List), sets::product),
    with("setsubtract", &[("a", List), ("b", List)], sets::subtract),
    and_more(
        "setsymmetricdifference",
        &[("first_set", List)],
        ("other_sets", List),
        sets::symmetric_difference,
    ),
    and_more(
        "setunion",
        &[("first_set", List)],
        ("other_sets", List),
        sets::union,
    ),
];

const ENCODINGS: &[Function] = &[
    with("base64decode", STR, encoding::base64_decode),
    with("base64encode", STR, encoding::base64_encode),
    and_more(
        "bcrypt",
        &[("str", Text)],
        ("cost", Number),
        encoding::bcrypt,
    ),
    with("csvdecode", STR, encoding::csv_decode),
    with("jsondecode", STR, encoding::json_decode),
    with("jsonencode", &[("val", Free)], encoding::json_encode),
    with("md5", STR, encoding::md5),
    with(
        "rsadecrypt",
        &[("ciphertext", Text), ("privatekey", Text)],
        encoding::rsa_decrypt,
    ),
    with("sha1", STR, encoding::sha1),
    with("sha256", STR, encoding::sha256),
    with("sha512", STR, encoding::sha512),
    with("urlencode", STR, encoding::url_encode),
    with("uuidv4", &[], encoding::uuid_v4),
    with(
        "uuidv5",
        &[("namespace", Text), ("name", Text)],
        encoding::uuid_v5,
    ),
];

const ADDRESSES: &[Function] = &[
    with(
        "cidrhost",
        &[("prefix", Text), ("hostnum", Number)],
        addresses::host,
    ),
    with("cidrnetmask", &[("prefix", Text)], addresses::netmask),
    with(
        "cidrsubnet",
        &[("prefix", Text), ("newbits", Number), ("netnum", Number)],
        addresses::subnet,
    ),
    and_more(
        "cidrsubnets",
        &[("prefix", Text)],
        ("newbits", Number),
        addresses::subnets,
    ),
];

const TIMES: &[Function] = &[
    with(
        "formatdate",
        &[("format", Text), ("time", Text)],
        dates::format_date,
    ),
    with(
        "timeadd",
        &[("timestamp", Text), ("duration", Text)],
        dates::time_add,
    ),
    with("timestamp", &[], dates::timestamp),
];
