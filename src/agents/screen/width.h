// Columns of characters on a terminal.
#pragma once

namespace onsight::agents::screen {

// 2 for wide ones (CJK, emoji), 0 for what is drawn over the one before it, -1 for what is not drawn at all: controls,
// and marks that reorder text, with which a line could read otherwise than it is.
int columns_of(char32_t character);

}  // namespace onsight::agents::screen
