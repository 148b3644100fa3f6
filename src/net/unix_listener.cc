#include "net/unix_listener.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace onsight::net {
namespace {

using ListenerError = boost::system::error_code;

// Whether nobody listens there any more. A queue that is full, and what may not be asked, count as living.
bool is_dead(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket < 0) return false;
  const bool refused =
      ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 && errno == ECONNREFUSED;
  ::close(socket);
  return refused;
}

// Makes room for a socket, if nobody listens on the one that is there.
Status clear_socket(const std::string& path) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) return {};  // bind() says what is wrong
  if (!S_ISSOCK(found.st_mode))
    return make_error(ErrorCode::kIo, "{}: expected a socket or nothing there, found another file", path);
  if (!is_dead(path)) return make_error(ErrorCode::kBusy, "{}: another process listens there", path);
  ::unlink(path.c_str());
  return {};
}

}  // namespace

Result<std::shared_ptr<UnixListener>> UnixListener::open(boost::asio::io_context& io, const UnixSocket& socket) {
  const std::string path = socket.path.string();
  constexpr size_t kMaxBytes = 107;
  if (path.empty() || path.size() > kMaxBytes)
    return bad_input("{}: expected the path of a socket, of at most {} bytes", path, kMaxBytes);
  TRY_STATUS(clear_socket(path));
  const auto listener = std::shared_ptr<UnixListener>(new UnixListener(io, socket));
  auto& acceptor = listener->acceptor_;
  ListenerError error;
  acceptor.open({}, error);
  if (!error) acceptor.bind({path}, error);
  struct stat made {};
  if (!error) {
    listener->bound_ = ::lstat(path.c_str(), &made) == 0;
    listener->device_ = made.st_dev;
    listener->inode_ = made.st_ino;
    // Nobody can connect before listen(): the mode is there in time.
    if (::chmod(path.c_str(), static_cast<mode_t>(socket.mode)) != 0)
      error.assign(errno, boost::system::system_category());
  }
  if (!error) acceptor.listen(boost::asio::socket_base::max_listen_connections, error);
  if (error) return make_error(ErrorCode::kIo, "{}: cannot listen there ({})", path, error.message());
  return listener;
}

void UnixListener::close() {
  if (!bound_) return;
  bound_ = false;
  struct stat now {};
  if (::lstat(socket_.path.c_str(), &now) == 0 && now.st_dev == device_ && now.st_ino == inode_)
    ::unlink(socket_.path.c_str());
  ListenerError ignored;
  acceptor_.close(ignored);
}

std::optional<uint32_t> peer_uid(int socket) {
  ucred who{};
  socklen_t size = sizeof(who);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return {};
  return who.uid;
}

}  // namespace onsight::net
