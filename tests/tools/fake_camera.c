/* A camera that is not there: preloaded, it answers for the device CAMERA as Video4Linux does (linux/videodev2.h), and
 * shows the JPEG file CAMERA_PICTURE 25 times a second, read anew each time. While the file is missing the camera is
 * unplugged.
 *
 *   cc -shared -fPIC -o fake_camera.so tests/tools/fake_camera.c
 *   CAMERA=/dev/video7 CAMERA_PICTURE=a.jpg CAMERA_SIZE=320x230 LD_PRELOAD=./fake_camera.so onsight watch /dev/video7
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { kBuffers = 4, kBytes = 1 << 20, kMost = 1024 };
static char is_camera[kMost];
static unsigned queued[kBuffers], first, count, frames; /* buffers in the order in which they were given */

static int unplugged(void) { return access(getenv("CAMERA_PICTURE"), R_OK) != 0; }

static int opened(const char* path, int flags) {
  const char* camera = getenv("CAMERA");
  if (!camera || strcmp(path, camera) != 0) return -2;
  (void)flags;
  if (unplugged()) {
    errno = ENOENT;
    return -1;
  }
  const int fd = memfd_create("camera", MFD_CLOEXEC);
  if (fd < 0 || fd >= kMost || ftruncate(fd, (off_t)kBuffers * kBytes) != 0) abort();
  is_camera[fd] = 1;
  first = count = 0;
  return fd;
}

#define OPEN(name)                                                                       \
  int name(const char* path, int flags, ...) {                                           \
    const int fd = opened(path, flags);                                                  \
    if (fd != -2) return fd;                                                             \
    va_list more;                                                                        \
    va_start(more, flags);                                                               \
    const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;        \
    va_end(more);                                                                        \
    return ((int (*)(const char*, int, ...))dlsym(RTLD_NEXT, #name))(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
#define OPEN_2(name)                                                          \
  int name(const char* path, int flags) {                                     \
    const int fd = opened(path, flags);                                       \
    if (fd != -2) return fd;                                                  \
    return ((int (*)(const char*, int))dlsym(RTLD_NEXT, #name))(path, flags); \
  }
OPEN_2(__open_2)
OPEN_2(__open64_2)

int close(int fd) {
  if (fd >= 0 && fd < kMost) is_camera[fd] = 0;
  return ((int (*)(int))dlsym(RTLD_NEXT, "close"))(fd);
}

static int fail(int error) {
  errno = error;
  return -1;
}

static int format(struct v4l2_format* wanted) {
  if (wanted->type != V4L2_BUF_TYPE_VIDEO_CAPTURE) return fail(EINVAL);
  struct v4l2_pix_format* pixels = &wanted->fmt.pix;
  memset(pixels, 0, sizeof *pixels);
  if (sscanf(getenv("CAMERA_SIZE"), "%ux%u", &pixels->width, &pixels->height) != 2) abort();
  pixels->pixelformat = V4L2_PIX_FMT_MJPEG;
  pixels->field = V4L2_FIELD_NONE;
  pixels->sizeimage = kBytes;
  return 0;
}

static int next_frame(int fd, struct v4l2_buffer* buffer) {
  const struct timespec wait = {0, 40000000};
  nanosleep(&wait, NULL);
  FILE* file = fopen(getenv("CAMERA_PICTURE"), "rb");
  if (!file || count == 0) return fail(file ? EIO : ENODEV);
  static char bytes[kBytes];
  const size_t n = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  const unsigned index = queued[first];
  first = (first + 1) % kBuffers;
  --count;
  if (pwrite(fd, bytes, n, (off_t)index * kBytes) != (ssize_t)n) abort();
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const unsigned type = buffer->type, memory = buffer->memory;
  memset(buffer, 0, sizeof *buffer);
  buffer->type = type;
  buffer->memory = memory;
  buffer->index = index;
  buffer->bytesused = (unsigned)n;
  buffer->flags = V4L2_BUF_FLAG_MAPPED | V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
  buffer->timestamp.tv_sec = now.tv_sec;
  buffer->timestamp.tv_usec = now.tv_nsec / 1000;
  buffer->sequence = frames++;
  buffer->length = kBytes;
  return 0;
}

static int answer(int fd, unsigned long request, void* argument) {
  if (unplugged()) return fail(ENODEV);
  switch (request) {
    case VIDIOC_QUERYCAP: {
      struct v4l2_capability* facts = argument;
      memset(facts, 0, sizeof *facts);
      strcpy((char*)facts->driver, "fake");
      strcpy((char*)facts->card, "a camera that is not there");
      facts->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
      facts->capabilities = facts->device_caps | V4L2_CAP_DEVICE_CAPS;
      return 0;
    }
    case VIDIOC_G_INPUT:
      *(int*)argument = 0;
      return 0;
    case VIDIOC_S_INPUT:
    case VIDIOC_STREAMON:
    case VIDIOC_STREAMOFF:
      return 0;
    case VIDIOC_ENUMINPUT: {
      struct v4l2_input* input = argument;
      if (input->index != 0) return fail(EINVAL);
      memset(input, 0, sizeof *input);
      input->type = V4L2_INPUT_TYPE_CAMERA;
      return 0;
    }
    case VIDIOC_G_FMT:
    case VIDIOC_S_FMT:
    case VIDIOC_TRY_FMT:
      return format(argument);
    case VIDIOC_ENUM_FMT: {
      struct v4l2_fmtdesc* one = argument;
      if (one->index != 0) return fail(EINVAL);
      one->flags = V4L2_FMT_FLAG_COMPRESSED;
      one->pixelformat = V4L2_PIX_FMT_MJPEG;
      return 0;
    }
    case VIDIOC_G_PARM:
    case VIDIOC_S_PARM: {
      struct v4l2_streamparm* rate = argument;
      rate->parm.capture.timeperframe.numerator = 1;
      rate->parm.capture.timeperframe.denominator = 25;
      return 0;
    }
    case VIDIOC_REQBUFS: {
      struct v4l2_requestbuffers* wanted = argument;
      if (wanted->count > kBuffers) wanted->count = kBuffers;
      return 0;
    }
    case VIDIOC_QUERYBUF: {
      struct v4l2_buffer* buffer = argument;
      if (buffer->index >= kBuffers) return fail(EINVAL);
      buffer->length = kBytes;
      buffer->m.offset = buffer->index * kBytes;
      return 0;
    }
    case VIDIOC_QBUF: {
      const struct v4l2_buffer* buffer = argument;
      if (buffer->index >= kBuffers || count == kBuffers) return fail(EINVAL);
      queued[(first + count++) % kBuffers] = buffer->index;
      return 0;
    }
    case VIDIOC_DQBUF:
      return next_frame(fd, argument);
    default:
      return fail(ENOTTY);
  }
}

int ioctl(int fd, unsigned long request, ...) {
  va_list more;
  va_start(more, request);
  void* argument = va_arg(more, void*);
  va_end(more);
  if (fd >= 0 && fd < kMost && is_camera[fd]) return answer(fd, request & 0xffffffffu, argument);
  return ((int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl"))(fd, request, argument);
}
