//! The signatures, in the order in which the checker tries them.

/// A name, a dot for calls on a value, the arguments, the result.
pub const SIGNATURES: &str = "
_?_:_ (bool, A, A) -> A
_&&_ (bool, bool) -> bool
_||_ (bool, bool) -> bool
!_ (bool) -> bool
@not_strictly_false (bool) -> bool
_==_ (A, A) -> bool
_!=_ (A, A) -> bool
_+_ (bytes, bytes) -> bytes
_+_ (double, double) -> double
_+_ (duration, duration) -> duration
_+_ (duration, timestamp) -> timestamp
_+_ (timestamp, duration) -> timestamp
_+_ (int, int) -> int
_+_ (list<A>, list<A>) -> list<A>
_+_ (string, string) -> string
_+_ (uint, uint) -> uint
_/_ (double, double) -> double
_/_ (int, int) -> int
_/_ (uint, uint) -> uint
_%_ (int, int) -> int
_%_ (uint, uint) -> uint
_*_ (double, double) -> double
_*_ (int, int) -> int
_*_ (uint, uint) -> uint
-_ (double) -> double
-_ (int) -> int
_-_ (double, double) -> double
_-_ (duration, duration) -> duration
_-_ (int, int) -> int
_-_ (timestamp, duration) -> timestamp
_-_ (timestamp, timestamp) -> duration
_-_ (uint, uint) -> uint
_<_ (bool, bool) -> bool
_<_ (int, int) -> bool
_<_ (int, double) -> bool
_<_ (int, uint) -> bool
_<_ (uint, uint) -> bool
_<_ (uint, double) -> bool
_<_ (uint, int) -> bool
_<_ (double, double) -> bool
_<_ (double, int) -> bool
_<_ (double, uint) -> bool
_<_ (string, string) -> bool
_<_ (bytes, bytes) -> bool
_<_ (timestamp, timestamp) -> bool
_<_ (duration, duration) -> bool
_<=_ (bool, bool) -> bool
_<=_ (int, int) -> bool
_<=_ (int, double) -> bool
_<=_ (int, uint) -> bool
_<=_ (uint, uint) -> bool
_<=_ (uint, double) -> bool
_<=_ (uint, int) -> bool
_<=_ (double, double) -> bool
_<=_ (double, int) -> bool
_<=_ (double, uint) -> bool
_<=_ (string, string) -> bool
_<=_ (bytes, bytes) -> bool
_<=_ (timestamp, timestamp) -> bool
_<=_ (duration, duration) -> bool
_>_ (bool, bool) -> bool
_>_ (int, int) -> bool
_>_ (int, double) -> bool
_>_ (int, uint) -> bool
_>_ (uint, uint) -> bool
_>_ (uint, double) -> bool
_>_ (uint, int) -> bool
_>_ (double, double) -> bool
_>_ (double, int) -> bool
_>_ (double, uint) -> bool
_>_ (string, string) -> bool
_>_ (bytes, bytes) -> bool
_>_ (timestamp, timestamp) -> bool
_>_ (duration, duration) -> bool
_>=_ (bool, bool) -> bool
_>=_ (int, int) -> bool
_>=_ (int, double) -> bool
_>=_ (int, uint) -> bool
_>=_ (uint, uint) -> bool
_>=_ (uint, double) -> bool
_>=_ (uint, int) -> bool
_>=_ (double, double) -> bool
_>=_ (double, int) -> bool
_>=_ (double, uint) -> bool
_>=_ (string, string) -> bool
_>=_ (bytes, bytes) -> bool
_>=_ (timestamp, timestamp) -> bool
_>=_ (duration, duration) -> bool
_[_] (list<A>, int) -> A
_[_] (map<A, B>, A) -> B
_[_] (opt<list<A>>, int) -> opt<A>
_[_] (opt<map<A, B>>, A) -> opt<B>
_[?_] (list<A>, int) -> opt<A>
_[?_] (opt<list<A>>, int) -> opt<A>
_[?_] (map<A, B>, A) -> opt<B>
_[?_] (opt<map<A, B>>, A) -> opt<B>
@in (A, list<A>) -> bool
@in (A, map<A, B>) -> bool
cel.@mapInsert (map<A, B>, A, B) -> map<A, B>
cel.@mapInsert (map<A, B>, map<A, B>) -> map<A, B>
size (bytes) -> int
size .(bytes) -> int
size (list<A>) -> int
size .(list<A>) -> int
size (map<A, B>) -> int
size .(map<A, B>) -> int
size (string) -> int
size .(string) -> int
type (A) -> type<A>
bool (bool) -> bool
bool (string) -> bool
bytes (bytes) -> bytes
bytes (string) -> bytes
double (double) -> double
double (int) -> double
double (string) -> double
double (uint) -> double
duration (duration) -> duration
duration (string) -> duration
dyn (A) -> dyn
int (int) -> int
int (double) -> int
int (duration) -> int
int (string) -> int
int (timestamp) -> int
int (uint) -> int
string (string) -> string
string (bool) -> string
string (bytes) -> string
string (double) -> string
string (duration) -> string
string (int) -> string
string (timestamp) -> string
string (uint) -> string
string (ip) -> string
string (cidr) -> string
timestamp (timestamp) -> timestamp
timestamp (int) -> timestamp
timestamp (string) -> timestamp
uint (uint) -> uint
uint (double) -> uint
uint (int) -> uint
uint (string) -> uint
contains .(string, string) -> bool
endsWith .(string, string) -> bool
startsWith .(string, string) -> bool
matches (string, string) -> bool
matches .(string, string) -> bool
getFullYear .(timestamp) -> int
getFullYear .(timestamp, string) -> int
getMonth .(timestamp) -> int
getMonth .(timestamp, string) -> int
getDayOfYear .(timestamp) -> int
getDayOfYear .(timestamp, string) -> int
getDayOfMonth .(timestamp) -> int
getDayOfMonth .(timestamp, string) -> int
getDate .(timestamp) -> int
getDate .(timestamp, string) -> int
getDayOfWeek .(timestamp) -> int
getDayOfWeek .(timestamp, string) -> int
getHours .(timestamp) -> int
getHours .(timestamp, string) -> int
getHours .(duration) -> int
getMinutes .(timestamp) -> int
getMinutes .(timestamp, string) -> int
getMinutes .(duration) -> int
getSeconds .(timestamp) -> int
getSeconds .(timestamp, string) -> int
getSeconds .(duration) -> int
getMilliseconds .(timestamp) -> int
getMilliseconds .(timestamp, string) -> int
getMilliseconds .(duration) -> int
optional.of (A) -> opt<A>
optional.ofNonZeroValue (A) -> opt<A>
optional.none () -> opt<A>
hasValue .(opt<A>) -> bool
value .(opt<A>) -> A
or .(opt<A>, opt<A>) -> opt<A>
orValue .(opt<A>, A) -> A
charAt .(string, int) -> string
indexOf .(string, string) -> int
indexOf .(string, string, int) -> int
lastIndexOf .(string, string) -> int
lastIndexOf .(string, string, int) -> int
lowerAscii .(string) -> string
upperAscii .(string) -> string
replace .(string, string, string) -> string
replace .(string, string, string, int) -> string
split .(string, string) -> list<string>
split .(string, string, int) -> list<string>
substring .(string, int) -> string
substring .(string, int, int) -> string
trim .(string) -> string
format .(string, list<dyn>) -> string
strings.quote (string) -> string
join .(list<string>) -> string
join .(list<string>, string) -> string
sets.contains (list<A>, list<A>) -> bool
sets.equivalent (list<A>, list<A>) -> bool
sets.intersects (list<A>, list<A>) -> bool
isSorted .(list<int>) -> bool
isSorted .(list<uint>) -> bool
isSorted .(list<double>) -> bool
isSorted .(list<bool>) -> bool
isSorted .(list<duration>) -> bool
isSorted .(list<timestamp>) -> bool
isSorted .(list<string>) -> bool
isSorted .(list<bytes>) -> bool
sum .(list<int>) -> int
sum .(list<uint>) -> uint
sum .(list<double>) -> double
sum .(list<duration>) -> duration
min .(list<int>) -> int
min .(list<uint>) -> uint
min .(list<double>) -> double
min .(list<bool>) -> bool
min .(list<duration>) -> duration
min .(list<timestamp>) -> timestamp
min .(list<string>) -> string
min .(list<bytes>) -> bytes
max .(list<int>) -> int
max .(list<uint>) -> uint
max .(list<double>) -> double
max .(list<bool>) -> bool
max .(list<duration>) -> duration
max .(list<timestamp>) -> timestamp
max .(list<string>) -> string
max .(list<bytes>) -> bytes
indexOf .(list<A>, A) -> int
lastIndexOf .(list<A>, A) -> int
slice .(list<A>, int, int) -> list<A>
flatten .(list<list<A>>) -> list<A>
flatten .(list<dyn>, int) -> list<dyn>
sort .(list<int>) -> list<int>
sort .(list<uint>) -> list<uint>
sort .(list<double>) -> list<double>
sort .(list<bool>) -> list<bool>
sort .(list<duration>) -> list<duration>
sort .(list<timestamp>) -> list<timestamp>
sort .(list<string>) -> list<string>
sort .(list<bytes>) -> list<bytes>
@sortByAssociatedKeys .(list<A>, list<int>) -> list<A>
@sortByAssociatedKeys .(list<A>, list<uint>) -> list<A>
@sortByAssociatedKeys .(list<A>, list<double>) -> list<A>
@sortByAssociatedKeys .(list<A>, list<bool>) -> list<A>
@sortByAssociatedKeys .(list<A>, list<duration>) -> list<A>
@sortByAssociatedKeys .(list<A>, list<timestamp>) -> list<A>
@sortByAssociatedKeys .(list<A>, list<string>) -> list<A>
@sortByAssociatedKeys .(list<A>, list<bytes>) -> list<A>
lists.range (int) -> list<int>
reverse .(list<A>) -> list<A>
distinct .(list<A>) -> list<A>
find .(string, string) -> string
findAll .(string, string) -> list<string>
findAll .(string, string, int) -> list<string>
url (string) -> url
isURL (string) -> bool
getScheme .(url) -> string
getHost .(url) -> string
getHostname .(url) -> string
getPort .(url) -> string
getEscapedPath .(url) -> string
getQuery .(url) -> map<string, list<string>>
ip (string) -> ip
ip .(cidr) -> ip
isIP (string) -> bool
ip.isCanonical (string) -> bool
family .(ip) -> int
isUnspecified .(ip) -> bool
isLoopback .(ip) -> bool
isLinkLocalMulticast .(ip) -> bool
isLinkLocalUnicast .(ip) -> bool
isGlobalUnicast .(ip) -> bool
cidr (string) -> cidr
isCIDR (string) -> bool
containsIP .(cidr, string) -> bool
containsIP .(cidr, ip) -> bool
containsCIDR .(cidr, string) -> bool
containsCIDR .(cidr, cidr) -> bool
prefixLength .(cidr) -> int
masked .(cidr) -> cidr
quantity (string) -> quantity
isQuantity (string) -> bool
sign (quantity) -> int
isGreaterThan .(quantity, quantity) -> bool
isLessThan .(quantity, quantity) -> bool
compareTo .(quantity, quantity) -> int
asApproximateFloat .(quantity) -> double
asInteger .(quantity) -> int
isInteger .(quantity) -> bool
add .(quantity, quantity) -> quantity
add .(quantity, int) -> quantity
sub .(quantity, quantity) -> quantity
sub .(quantity, int) -> quantity
semver (string) -> semver
semver (string, bool) -> semver
isSemver (string) -> bool
isSemver (string, bool) -> bool
major .(semver) -> int
minor .(semver) -> int
patch .(semver) -> int
isGreaterThan .(semver, semver) -> bool
isLessThan .(semver, semver) -> bool
compareTo .(semver, semver) -> int
format.named (string) -> opt<format>
format.dns1123Label () -> format
format.dns1123Subdomain () -> format
format.dns1035Label () -> format
format.qualifiedName () -> format
format.dns1123LabelPrefix () -> format
format.dns1123SubdomainPrefix () -> format
format.dns1035LabelPrefix () -> format
format.labelValue () -> format
format.uri () -> format
format.uuid () -> format
format.byte () -> format
format.date () -> format
format.datetime () -> format
validate .(format, string) -> opt<list<string>>
jsonpatch.escapeKey (string) -> string
path .(authorizer, string) -> pathcheck
group .(authorizer, string) -> groupcheck
serviceAccount .(authorizer, string, string) -> authorizer
resource .(groupcheck, string) -> resourcecheck
subresource .(resourcecheck, string) -> resourcecheck
namespace .(resourcecheck, string) -> resourcecheck
name .(resourcecheck, string) -> resourcecheck
fieldSelector .(resourcecheck, string) -> resourcecheck
labelSelector .(resourcecheck, string) -> resourcecheck
check .(pathcheck, string) -> decision
check .(resourcecheck, string) -> decision
errored .(decision) -> bool
error .(decision) -> string
allowed .(decision) -> bool
reason .(decision) -> string
";
