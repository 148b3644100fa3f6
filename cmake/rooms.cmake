# The house plan: which room may use which. This table makes the link lines, and tests/include_arrows.py checks every #include against it.
# Syntax of a row: onsight_room(NAME USES rooms... LIBS libraries... APART sources...). Sources are src/NAME/**/*.cc; x_test.cc is a test of the room.
onsight_room(base    USES                               LIBS fmt::fmt nlohmann_json::nlohmann_json Threads::Threads)
onsight_room(net     USES base                          LIBS Boost::headers PkgConfig::curl PkgConfig::openssl Threads::Threads)
onsight_room(hub     USES net formats base              LIBS PkgConfig::openssl Threads::Threads APART pull.cc)
onsight_room(compute USES base                          LIBS PkgConfig::hwy)
onsight_room(formats USES compute base                  LIBS)
onsight_room(text    USES base                          LIBS PkgConfig::utf8proc)
onsight_room(media   USES base                          LIBS PkgConfig::jpeg PkgConfig::png PkgConfig::webp PkgConfig::tiff PkgConfig::heif GIF::GIF ffmpeg_headers ${CMAKE_DL_LIBS})
onsight_room(models  USES compute formats text media base LIBS)
onsight_room(export  USES models compute formats text media base LIBS)
onsight_room(engine  USES models compute formats text media base LIBS)
onsight_room(server  USES engine net media text base    LIBS)
onsight_room(agents  USES net base                      LIBS PkgConfig::sqlite3 PkgConfig::utf8proc PkgConfig::sodium Threads::Threads)
