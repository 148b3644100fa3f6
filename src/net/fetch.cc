#include "net/fetch.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <memory>

#include "net/http.h"

namespace onsight::net {
namespace {

constexpr int kFetchRedirects = 3;

struct Url {
  std::string host;
  int port = 0;
};

struct FetchState {
  const FetchPolicy* policy;
  const FetchDeadline* deadline;
  std::string body = {};
  bool too_large = false, private_address = false;
};

using UrlHandle = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;
using Easy = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;

std::string part_of(CURLU* handle, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(handle, part, &text, flags) != CURLUE_OK) return {};
  std::string out = text;
  curl_free(text);
  return out;
}

size_t take(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<FetchState*>(user);
  if (static_cast<int64_t>(transfer.body.size() + size * count) > transfer.policy->max_bytes) {
    transfer.too_large = true;
    return 0;
  }
  transfer.body.append(data, size * count);
  return size * count;
}

int look_up(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const FetchDeadline& deadline = *static_cast<const FetchState*>(user)->deadline;
  return deadline.cancelled && deadline.cancelled->load() ? 1 : 0;
}

// Looks at the address itself: a name that leads to another one at each question gains nothing.
curl_socket_t open_socket(void* user, curlsocktype, curl_sockaddr* address) {
  auto& transfer = *static_cast<FetchState*>(user);
  if (transfer.policy->public_only && !is_public(address->addr)) {
    transfer.private_address = true;
    return CURL_SOCKET_BAD;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

// One request; `next` is where a redirect leads.
Result<std::string> get(CURLU* url, const FetchPolicy& policy, const FetchDeadline& deadline,
                        std::chrono::milliseconds time, std::string_view where, std::string& next) {
  const Easy easy(curl_easy_init(), &curl_easy_cleanup);
  if (!easy) return make_error(ErrorCode::kOutOfMemory, "{}: not enough memory to fetch it", where);
  FetchState transfer{.policy = &policy, .deadline = &deadline};
  curl_easy_setopt(easy.get(), CURLOPT_CURLU, url);
  curl_easy_setopt(easy.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy.get(), CURLOPT_PROXY, "");  // a proxy would choose the address
  curl_easy_setopt(easy.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(time.count()));
  curl_easy_setopt(easy.get(), CURLOPT_USERAGENT, "onsight");
  curl_easy_setopt(easy.get(), CURLOPT_OPENSOCKETFUNCTION, open_socket);
  curl_easy_setopt(easy.get(), CURLOPT_OPENSOCKETDATA, &transfer);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, take);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(easy.get(), CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(policy.max_bytes));
  curl_easy_setopt(easy.get(), CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(easy.get(), CURLOPT_XFERINFOFUNCTION, look_up);
  curl_easy_setopt(easy.get(), CURLOPT_XFERINFODATA, &transfer);
  const CURLcode code = curl_easy_perform(easy.get());
  if (transfer.private_address)
    return bad_input("{}: expected a host of the public internet, found a private address", where);
  if (transfer.too_large || code == CURLE_FILESIZE_EXCEEDED)
    return bad_input("{}: expected a file of at most {} bytes", where, policy.max_bytes);
  if (code == CURLE_ABORTED_BY_CALLBACK)
    return make_error(ErrorCode::kInterrupted, "{}: not fetched, nobody waits for it any more", where);
  if (code != CURLE_OK) return bad_input("{}: cannot be fetched ({})", where, curl_easy_strerror(code));
  long status = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
  char* redirect = nullptr;
  if (status >= 300 && status < 400) curl_easy_getinfo(easy.get(), CURLINFO_REDIRECT_URL, &redirect);
  if (redirect) {
    next = redirect;
    return std::string();
  }
  if (status != 200) return bad_input("{}: cannot be fetched (its host answers {})", where, status);
  return std::move(transfer.body);
}

bool starts_ignoring_case(std::string_view text, std::string_view start) {
  return equal_ignoring_case(text.substr(0, start.size()), start);
}

bool in_network(uint32_t address, uint32_t network, int bits) { return (address ^ network) >> (32 - bits) == 0; }

bool is_public_v4(uint32_t address) {
  struct Network {
    uint32_t address;
    int bits;
  };
  // IANA's registry of special-purpose addresses.
  constexpr std::array<Network, 15> kSpecial = {{{0x00000000, 8},
                                                 {0x0a000000, 8},
                                                 {0x64400000, 10},
                                                 {0x7f000000, 8},
                                                 {0xa9fe0000, 16},
                                                 {0xac100000, 12},
                                                 {0xc0000000, 24},
                                                 {0xc0000200, 24},
                                                 {0xc0586300, 24},
                                                 {0xc0a80000, 16},
                                                 {0xc6120000, 15},
                                                 {0xc6336400, 24},
                                                 {0xcb007100, 24},
                                                 {0xe0000000, 4},
                                                 {0xf0000000, 4}}};
  for (const Network& network : kSpecial)
    if (in_network(address, network.address, network.bits)) return false;
  return true;
}

bool is_public_v6(const in6_addr& address) {
  const auto* b = address.s6_addr;
  if ((b[0] & 0xe0) != 0x20) return false;                                 // not of 2000::/3
  if (b[0] == 0x20 && b[1] == 0x02) return false;                          // 6to4 carries any IPv4
  if (b[0] == 0x20 && b[1] == 0x01 && b[2] < 0x02) return false;           // 2001::/23: Teredo and others
  return !(b[0] == 0x20 && b[1] == 0x01 && b[2] == 0x0d && b[3] == 0xb8);  // documentation
}

}  // namespace

bool is_web_url(std::string_view url) {
  return starts_ignoring_case(url, "http://") || starts_ignoring_case(url, "https://");
}

bool is_public(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4);
    return is_public_v4(ntohl(v4.sin_addr.s_addr));
  }
  if (address.sa_family != AF_INET6) return false;
  sockaddr_in6 v6{};
  std::memcpy(&v6, &address, sizeof v6);
  return is_public_v6(v6.sin6_addr);
}

bool allows_host(const FetchPolicy& policy, std::string_view host, int port) {
  for (const std::string& entry : policy.hosts) {
    const size_t colon = entry.rfind(':');
    const std::string_view name = std::string_view(entry).substr(0, colon);
    const bool port_fits =
        colon == std::string::npos ? port == 80 || port == 443 : entry.substr(colon + 1) == std::to_string(port);
    if (!port_fits) continue;
    if (equal_ignoring_case(name, host)) return true;
    const std::string_view below = name.starts_with("*.") ? name.substr(1) : std::string_view();
    if (!below.empty() && host.size() > below.size() &&
        equal_ignoring_case(host.substr(host.size() - below.size()), below))
      return true;
  }
  return false;
}

Status ready_to_fetch() {
  static const CURLcode kReady = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (kReady != CURLE_OK) return make_error(ErrorCode::kIo, "libcurl cannot be used");
  return {};
}

Result<std::string> fetch(const std::string& url, const FetchPolicy& policy, std::string_view where,
                          const FetchDeadline& deadline) {
  TRY_STATUS(ready_to_fetch());
  std::string now = url;
  for (int i = 0; i <= kFetchRedirects; ++i) {
    const UrlHandle handle(curl_url(), &curl_url_cleanup);
    if (!handle || !is_web_url(now) || curl_url_set(handle.get(), CURLUPART_URL, now.c_str(), 0) != CURLUE_OK)
      return bad_input("{}: expected an http or https URL", where);
    if (!part_of(handle.get(), CURLUPART_USER).empty() || !part_of(handle.get(), CURLUPART_PASSWORD).empty())
      return bad_input("{}: expected a URL without a user", where);
    const std::string host = part_of(handle.get(), CURLUPART_HOST);
    const std::string port = part_of(handle.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
    if (!allows_host(policy, host, std::atoi(port.c_str())))
      return bad_input("{}: expected a host that --allow-fetch names, found '{}'", where, host);
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline.until - std::chrono::steady_clock::now());
    if (left.count() <= 0) break;
    std::string next;
    TRY(std::string body, get(handle.get(), policy, deadline, left, where, next));
    if (next.empty()) return body;
    now = std::move(next);
  }
  return bad_input("{}: expected a file within {} s of the request and {} redirects", where, policy.time.count() / 1000,
                   kFetchRedirects);
}

}  // namespace onsight::net
