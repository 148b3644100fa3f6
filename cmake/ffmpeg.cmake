# FFmpeg's headers. Its libraries are opened when the first video is (src/media/ffmpeg.cc), and none is linked. The headers are the same
# for every machine: a cross build takes those of this one, through a folder that has nothing else.
file(GLOB places /usr/include /usr/include/*-linux-gnu /usr/local/include /opt/homebrew/include)
find_path(FFMPEG_INCLUDE libavformat/avformat.h PATHS ${places} NO_CMAKE_FIND_ROOT_PATH)
if(NOT FFMPEG_INCLUDE)
  message(FATAL_ERROR "FFmpeg's headers (libavformat/avformat.h) are not there, expected Debian's libavformat-dev and libswscale-dev or the like")
endif()
set(ffmpeg_links ${CMAKE_BINARY_DIR}/ffmpeg)
file(MAKE_DIRECTORY ${ffmpeg_links})
foreach(library libavcodec libavformat libavutil libswscale)
  file(CREATE_LINK ${FFMPEG_INCLUDE}/${library} ${ffmpeg_links}/${library} SYMBOLIC)
endforeach()
add_library(ffmpeg_headers INTERFACE)
target_include_directories(ffmpeg_headers SYSTEM INTERFACE ${ffmpeg_links})
