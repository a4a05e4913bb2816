# A page that is made once and then served from the router's cache, until something is published.

PAGE = {
  "content-type" => "text/plain",
  "cache-control" => "public, max-age=600, stale-while-revalidate=60",
  "cache-tag" => "news",
}.freeze

run ->(env) {
  case [env["REQUEST_METHOD"], env["PATH_INFO"]]
  in ["GET", "/"]
    [200, PAGE.dup, ["The news, as of #{Process.clock_gettime(Process::CLOCK_REALTIME, :nanosecond)}\n"]]
  in ["GET", "/account"]
    [200, { "content-type" => "text/plain", "cache-control" => "private" }, ["#{rand}\n"]]
  in ["POST", "/publish"]
    # The router removes what has this tag before the client has the answer.
    [303, { "location" => "/", "cache-purge" => 'tag="news"' }, []]
  else
    [404, { "content-type" => "text/plain" }, ["There is no such page.\n"]]
  end
}
