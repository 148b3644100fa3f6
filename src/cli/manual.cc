// The manual page and the completions of shells, from the tables that --help is made of.
#include <algorithm>

#include "cli/program.h"

namespace onsight::cli {
namespace {

// Calls f(verb, rows of its options) for each verb.
template <class F>
void for_each_verb(F f) {
  for (const VerbRow* row : all_verbs()) {
    const std::unique_ptr<Verb> verb = row->make();
    Options options{std::string(row->name)};
    verb->declare(options);
    f(*row, options.rows());
  }
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> out;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(at, begin), text.size());
    out.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

bool is_file(const OptionRow& row) {
  for (const char* word : {"FILE", "DIR", "FOLDER", "MODEL"})
    if (row.value.find(word) != std::string::npos) return true;
  return false;
}

std::string replaced(std::string_view text, std::string_view what, std::string_view with) {
  std::string out;
  for (;;) {
    const size_t at = std::min(text.find(what), text.size());
    out.append(text.substr(0, at));
    if (at == text.size()) return out;
    out.append(with);
    text.remove_prefix(at + what.size());
  }
}

// As roff prints it: backslashes, hyphens that are typed, and lines that would be requests.
std::string roff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool first = out.empty() || out.back() == '\n';
    if (first && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
  }
  return out;
}

std::string in_quotes(const std::string& text) { return fmt::format("'{}'", replaced(text, "'", "'\\''")); }

std::string bash() {
  std::string verbs_of, groups, options, values;
  for (const VerbRow& row : verbs()) {
    verbs_of += fmt::format("{} ", row.name);
    if (!row.group) continue;
    std::string below;
    for (const VerbRow& verb : row.group()) below += fmt::format("{} ", verb.name.substr(row.name.size() + 1));
    groups += fmt::format(R"(  if [ "$verb" = {} ]; then
    if [ "$COMP_CWORD" = 2 ]; then
      COMPREPLY=($(compgen -W '{}--help' -- "$cur"))
      return
    fi
    verb="$verb ${{COMP_WORDS[2]}}"
  fi
)",
                          row.name, below);
  }
  for_each_verb([&](const VerbRow& verb, const std::vector<OptionRow>& rows) {
    std::string names = "--help";
    for (const OptionRow& row : rows) {
      if (row.names.empty()) continue;
      names += fmt::format(" {}", replaced(row.names, ",", " "));
      if (row.value.empty()) continue;
      std::string places;
      for (const std::string& name : split(row.names, ','))
        places += fmt::format("{}'{} {}'", places.empty() ? "" : " | ", verb.name, name);
      if (!row.choices.empty())
        values += fmt::format("    {}) COMPREPLY=($(compgen -W '{}' -- \"$cur\")); return ;;\n", places,
                              fmt::join(row.choices, " "));
      else if (!is_file(row))
        values += fmt::format("    {}) return ;;\n", places);
    }
    options += fmt::format("    '{}') options='{}' ;;\n", verb.name, names);
  });
  return fmt::format(R"(# Completions of onsight for bash.
_onsight() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} verb=${{COMP_WORDS[1]}} options=
  COMPREPLY=()
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W '{}--help --version --man --completions' -- "$cur"))
    return
  fi
{}  case "$verb $prev" in
    '--completions '* | *' --completions') COMPREPLY=($(compgen -W 'bash zsh fish' -- "$cur")); return ;;
{}  esac
  case "$verb" in
{}  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
  else
    local IFS=$'\n'
    COMPREPLY=($(compgen -f -- "$cur"))
  fi
}}
complete -o filenames -F _onsight onsight
)",
                     verbs_of, groups, values, options);
}

std::string zsh() {
  std::string verbs_of, groups, cases;
  // A colon ends the name in one of these, brackets the explanation in the other.
  const auto described = [](std::string_view name, const VerbRow& row) {
    return fmt::format("    {}\n", in_quotes(fmt::format("{}:{}", name, row.help)));
  };
  for (const VerbRow& row : verbs()) {
    verbs_of += described(row.name, row);
    if (!row.group) continue;
    std::string below;
    for (const VerbRow& verb : row.group()) below += described(verb.name.substr(row.name.size() + 1), verb);
    groups += fmt::format(R"(  if [[ $verb == {} ]]; then
    verbs=(
{}    )
    if (( CURRENT == 2 )); then
      _describe verb verbs
      return
    fi
    verb="$verb $words[2]"
    shift words
    (( CURRENT-- ))
  fi
)",
                          row.name, below);
  }
  for_each_verb([&](const VerbRow& verb, const std::vector<OptionRow>& rows) {
    std::string specs;
    for (const OptionRow& row : rows) {
      const std::string action = !row.choices.empty() ? fmt::format("({})", fmt::join(row.choices, " "))
                                 : is_file(row)       ? "_files"
                                                      : "";
      if (row.names.empty()) {
        specs +=
            fmt::format(" \\\n        {}", in_quotes(fmt::format("*:{}:{}", row.value, is_file(row) ? "_files" : "")));
        continue;
      }
      const std::string help = replaced(replaced(replaced(row.help, "[", "("), "]", ")"), ":", "\\:");
      for (const std::string& name : split(row.names, ',')) {
        std::string spec = fmt::format("{}{}[{}]", row.repeatable ? "*" : "", name, help);
        if (!row.value.empty()) spec += fmt::format(":{}:{}", replaced(row.value, ":", "\\:"), action);
        specs += fmt::format(" \\\n        {}", in_quotes(spec));
      }
    }
    cases += fmt::format("    '{}')\n      _arguments{}\n      ;;\n", verb.name, specs);
  });
  return fmt::format(R"(#compdef onsight
# Completions of onsight for zsh.
_onsight() {{
  local -a verbs
  verbs=(
{}  )
  if (( CURRENT == 2 )); then
    _describe verb verbs
    return
  fi
  local verb=$words[2]
  shift words
  (( CURRENT-- ))
{}  case "$verb" in
{}  esac
}}
_onsight "$@"
)",
                     verbs_of, groups, cases);
}

std::string fish() {
  std::string out = "# Completions of onsight for fish.\ncomplete -c onsight -n __fish_use_subcommand -f\n";
  for (const VerbRow& row : verbs()) {
    out += fmt::format("complete -c onsight -n __fish_use_subcommand -a {} -d {}\n", row.name,
                       in_quotes(std::string(row.help)));
    if (!row.group) continue;
    std::string names;
    for (const VerbRow& verb : row.group()) names += fmt::format(" {}", verb.name.substr(row.name.size() + 1));
    for (const VerbRow& verb : row.group())
      out += fmt::format(
          "complete -c onsight -n '__fish_seen_subcommand_from {}; and not __fish_seen_subcommand_from{}' -f -a {} -d "
          "{}\n",
          row.name, names, verb.name.substr(row.name.size() + 1), in_quotes(std::string(verb.help)));
  }
  for_each_verb([&](const VerbRow& verb, const std::vector<OptionRow>& rows) {
    const size_t space = verb.name.find(' ');
    const std::string seen = space == std::string_view::npos
                                 ? fmt::format("__fish_seen_subcommand_from {}", verb.name)
                                 : fmt::format("__fish_seen_subcommand_from {}; and __fish_seen_subcommand_from {}",
                                               verb.name.substr(0, space), verb.name.substr(space + 1));
    for (const OptionRow& row : rows) {
      if (row.names.empty()) continue;
      std::string names;
      for (const std::string& name : split(row.names, ','))
        names += name.starts_with("--") ? fmt::format(" -l {}", name.substr(2)) : fmt::format(" -s {}", name.substr(1));
      std::string value;
      if (!row.choices.empty())
        value = fmt::format(" -x -a '{}'", fmt::join(row.choices, " "));
      else if (!row.value.empty())
        value = is_file(row) ? " -r" : " -x";
      out += fmt::format("complete -c onsight -n '{}'{}{} -d {}\n", seen, names, value, in_quotes(row.help));
    }
  });
  return out;
}

}  // namespace

std::string manual_page() {
  std::string out =
      ".TH ONSIGHT 1 \"\" \"onsight " ONSIGHT_VERSION
      "\"\n.SH NAME\nonsight \\- asks pictures and videos questions, on your own machine and nowhere else\n"
      ".SH SYNOPSIS\n";
  for (const VerbRow& row : verbs()) out += fmt::format(".B onsight {}\n{}\n.br\n", row.name, roff(row.arguments));
  for_each_verb([&](const VerbRow& verb, const std::vector<OptionRow>& rows) {
    std::string title(verb.name);
    std::transform(title.begin(), title.end(), title.begin(), [](unsigned char c) { return std::toupper(c); });
    out += fmt::format(".SH {}\n{}.\n", title, roff(verb.help));
    std::string heading;
    for (const OptionRow& row : rows) {
      if (row.heading != heading) out += fmt::format(".SS {}\n", roff(heading = row.heading));
      out += fmt::format(
          ".TP\n.B {}\n{}{}\n",
          roff(row.names.empty() ? row.value : fmt::format("{} {}", replaced(row.names, ",", ", "), row.value)),
          roff(row.help), row.repeatable ? " (repeatable)" : "");
    }
    out += fmt::format(".SS {}\n.nf\n{}\n.fi\n", title, roff(verb.details));
  });
  return out +
         ".SH ENVIRONMENT\n.TP\n.B ONSIGHT_MODELS\na folder of models, searched before the installed ones\n"
         ".SH EXIT STATUS\n0 done, 1 the output could not be written, 2 wrong usage, 3 an input file or a model is "
         "bad, "
         "4 not enough memory, 130 interrupted.\n";
}

Result<std::string> completions(std::string_view shell) {
  if (shell == "bash") return bash();
  if (shell == "zsh") return zsh();
  if (shell == "fish") return fish();
  return make_error(ErrorCode::kUsage, "--completions: expected bash, zsh or fish, found '{}'", shell);
}

}  // namespace onsight::cli
