// --help: made of the table of verbs and of each verb's table of options.
#include <algorithm>

#include "cli/program.h"

namespace onsight::cli {
namespace {

constexpr size_t kWidth = 100;

// `text` in lines of at most kWidth, those after the first indented.
std::string wrap(std::string_view text, size_t indent) {
  std::string out;
  size_t column = indent;
  while (!text.empty()) {
    size_t end = std::min(text.find(' '), text.size());
    if (column > indent && column + 1 + end > kWidth) {
      out += '\n' + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out += text.substr(0, end);
    column += end;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

std::string left_column(const OptionRow& row) {
  if (row.names.empty()) return fmt::format("  {}", row.value);
  std::string out = "  ";
  for (char c : row.names) out += c == ',' ? std::string(", ") : std::string(1, c);
  return row.value.empty() ? out : fmt::format("{} {}", out, row.value);
}

std::string table_row(std::string left, std::string_view help, size_t indent) {
  if (left.size() + 2 > indent)
    left += '\n' + std::string(indent, ' ');
  else
    left.resize(indent, ' ');
  return left + wrap(help, indent) + '\n';
}

}  // namespace

std::string help_of_program() {
  std::string out =
      "onsight " ONSIGHT_VERSION
      ": asks pictures questions, on your own machine and nowhere else\n\nUsage: onsight VERB [OPTIONS]\n\n";
  for (const VerbRow& row : verbs()) out += table_row(fmt::format("  {}", row.name), row.help, 14);
  out += R"(
  onsight VERB --help   explains a verb
  onsight --version     prints the version
  onsight --man         prints the manual page
  onsight --completions bash|zsh|fish   prints what the shell completes

Environment:
  ONSIGHT_MODELS   a folder of models, searched before the installed ones

Exit codes:
  0    done
  1    the output could not be written
  2    wrong usage
  3    an input file or a model is bad
  4    not enough memory
  130  interrupted
)";
  return out;
}

std::string help_of_group(const VerbRow& row) {
  std::string out =
      fmt::format("onsight {}: {}\n\nUsage: onsight {} {}\n\n", row.name, row.help, row.name, row.arguments);
  for (const VerbRow& below : row.group())
    out += table_row(fmt::format("  {}", below.name.substr(row.name.size() + 1)), below.help, 14);
  return out + fmt::format("\n  onsight {} VERB --help   explains a verb\n\n{}\n", row.name, row.details);
}

std::string help_of_verb(const VerbRow& row, const Options& options) {
  std::string out =
      fmt::format("onsight {}: {}\n\nUsage: onsight {} {}\n", row.name, row.help, row.name, row.arguments);
  size_t indent = 0;
  for (const OptionRow& option : options.rows()) indent = std::max(indent, left_column(option).size() + 2);
  indent = std::min<size_t>(indent, 32);
  std::string heading;
  for (const OptionRow& option : options.rows()) {
    if (option.heading != heading) out += fmt::format("\n{}:\n", heading = option.heading);
    out += table_row(left_column(option), option.help + (option.repeatable ? " (repeatable)" : ""), indent);
  }
  return out +
         fmt::format(
             "\n{}\n\nExit codes: 0 done, 1 output not written, 2 wrong usage, 3 bad input or model, 4 not enough "
             "memory,\n130 interrupted.\n",
             row.details);
}

}  // namespace onsight::cli
