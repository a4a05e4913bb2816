# Cacheable pages of the sizes that the paths name.
PAGES = { "/" => "Hello\n", "/1k" => "x" * 1024, "/64k" => "x" * 65_536 }.freeze

run lambda { |env|
  page = PAGES[env["PATH_INFO"]]
  next [404, { "content-type" => "text/plain" }, ["no such page\n"]] unless page

  headers = {
    "content-type" => "text/plain",
    "content-length" => page.bytesize.to_s,
    "cache-control" => "public, max-age=3600"
  }
  [200, headers, [page]]
}
