// Who may ask, and what requests mean, without a socket.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "server/access.h"
#include "server/fields.h"
#include "server/metrics.h"
#include "server/service.h"
#include "server/site.h"

namespace onsight::server {
namespace {

TEST(ApiKey, OpensFromAllItsPlaces) {
  const ApiKey key("secret");
  net::HttpRequest request;
  EXPECT_FALSE(key.opens(request));
  for (const auto& [name, value] :
       {std::pair("Authorization", "Bearer secret"), std::pair("authorization", "bearer secret"),
        std::pair("X-Api-Key", "secret"), std::pair("x-goog-api-key", "secret")}) {
    request.headers = {{name, value}};
    EXPECT_TRUE(key.opens(request)) << name;
  }
  request.headers = {};
  request.query = {{"key", "secret"}};
  EXPECT_TRUE(key.opens(request));
  for (const char* wrong : {"", "secre", "secrets", "Secret"}) {
    request.query = {{"key", wrong}};
    request.headers = {{"Authorization", std::string("Bearer ") + wrong}};
    EXPECT_FALSE(key.opens(request)) << wrong;
  }
  request.headers = {{"Authorization", "Basic secret"}};
  EXPECT_FALSE(key.opens(request));
}

TEST(Access, NamesOfThisMachine) {
  for (const char* name :
       {"localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:80", "127.1.2.3", "[::1]:8080", "app.localhost"})
    EXPECT_TRUE(names_this_machine(name, "127.0.0.1")) << name;
  for (const char* name :
       {"evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.0.1", "[::2]", "evillocalhost"})
    EXPECT_FALSE(names_this_machine(name, "127.0.0.1")) << name;
  EXPECT_TRUE(same_origin("http://localhost:8080", "localhost:8080"));
  EXPECT_FALSE(same_origin("http://localhost:3000", "localhost:8080"));
  EXPECT_FALSE(same_origin("null", "localhost:8080"));
}

TEST(Fields, ErrorsNameThePlace) {
  const Json body = {
      {"a", {{"number", 2.5}, {"whole", 3}, {"text", "x"}, {"none", nullptr}, {"large", 9007199254740993}}}};
  const Fields fields = *Fields(body, "").object("a");
  EXPECT_EQ(fields.number("number", 0, 0, 3).value(), 2.5);
  EXPECT_EQ(fields.number("none", 7, 0, 3).value(), 7);
  EXPECT_EQ(fields.integer("large", 0, 0, INT64_MAX).value(), 9007199254740993);
  EXPECT_EQ(fields.integer("number", 0, 0, 3).error().message, "a.number: expected an integer, found 2.5");
  EXPECT_EQ(fields.integer("whole", 0, 4, 5).error().message, "a.whole: expected an integer from 4 to 5, found 3");
  EXPECT_EQ(fields.number("text", 0, 0, 3).error().message, "a.text: expected a number, found string");
  EXPECT_EQ(fields.string("missing").error().message, "a.missing: expected a string, found nothing");
  EXPECT_FALSE(fields.boolean("text", false));
  EXPECT_EQ(fields.string("missing").error().field, "a.missing");
  EXPECT_EQ(fields.string("missing").error().reason, "missing_required_parameter");
  EXPECT_EQ(fields.number("text", 0, 0, 3).error().reason, "invalid_type");
  EXPECT_EQ(fields.integer("whole", 0, 4, 5).error().reason, "integer_below_min_value");
  // An error that says already whose it is keeps it.
  const auto of = [&](Result<int64_t> found) { return of_field(std::move(found), "b", "invalid_value").error(); };
  EXPECT_EQ(of(fields.integer("whole", 0, 4, 5)).field, "a.whole");
  EXPECT_EQ(of(bad_input("b: x")).field, "b");
  EXPECT_EQ(of(make_error(ErrorCode::kIo, "x")).field, "");
}

TEST(Fields, BodiesAreObjectsOfBoundedDepth) {
  EXPECT_TRUE(parse_body("{\"b\": 1, \"a\": [2]}"));
  EXPECT_EQ(to_text(*parse_body("{\"b\": 1, \"a\": [2]}")), "{\"b\":1,\"a\":[2]}");
  for (const std::string& bad :
       {std::string(), std::string("[]"), std::string("{"), std::string("{} x"), std::string("{\"a\": \"\xff\"}"),
        "{\"a\":" + std::string(300, '[') + std::string(300, ']') + "}"})
    EXPECT_FALSE(parse_body(bad)) << bad;
  std::string names = R"("a": [{"b": 0}, {"b": 0}])";
  for (int i = 1; i < 1000; ++i) names += fmt::format(",\"{}\": 0", i);
  EXPECT_TRUE(parse_body("{" + names + "}"));
  EXPECT_EQ(parse_body("{" + names + ", \"b\": 0}").error().message,
            "the body: expected at most 1000 names in an object, found more");
}

TEST(Schemas, AreOfBoundedSize) {
  EXPECT_TRUE(compile_schema({{"description", std::string(200'000, 'x')}}, "schema"));
  EXPECT_EQ(compile_schema({{"description", std::string(300'000, 'x')}}, "schema").error().message,
            "schema: expected a schema of at most 262144 bytes, found 300018");
}

TEST(Metrics, HistogramsAreCumulative) {
  Histogram histogram;
  histogram.add(0.0005);
  histogram.add(0.3);
  histogram.add(100);
  const std::string text = histogram.text("x_seconds", "Help.");
  EXPECT_NE(text.find("# TYPE x_seconds histogram"), std::string::npos);
  EXPECT_NE(text.find("x_seconds_bucket{le=\"0.001\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("x_seconds_bucket{le=\"0.5\"} 2\n"), std::string::npos);
  EXPECT_NE(text.find("x_seconds_bucket{le=\"+Inf\"} 3\n"), std::string::npos);
  EXPECT_NE(text.find("x_seconds_count 3\n"), std::string::npos);
}

TEST(OpenApi, ListsEveryRouteAndNoOther) {
  const std::vector<Place> places = all_places();
  const Json document = openapi_of(places, "1");
  std::set<std::string> listed, routed;
  for (const auto& [path, methods] : document["paths"].items())
    for (const auto& [method, operation] : methods.items())
      for (const Json& tag : operation["tags"]) listed.insert(fmt::format("{} {} {}", method, path, to_text(tag)));
  for (const Place& place : places) {
    std::string method(place.route->method), path(place.route->pattern);
    std::erase(path, '+');
    std::transform(method.begin(), method.end(), method.begin(), [](char c) { return std::tolower(c); });
    if (!place.route->refused) routed.insert(fmt::format("{} {} \"{}\"", method, path, place.dialect->id));
    EXPECT_TRUE(place.route->request_schema.empty() || Json::accept(place.route->request_schema))
        << place.route->pattern;
  }
  EXPECT_EQ(listed, routed);
  EXPECT_TRUE(routed.contains("delete /v1/files/{name} \"gemini\"")) << "those that a dialect claims count too";
  EXPECT_TRUE(document["security"].is_array());
}

}  // namespace
}  // namespace onsight::server
