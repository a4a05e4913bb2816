require "digest"

CHUNK = 64 * 1024

# A body that is made while it is sent.
class Download
  def initialize(bytes) = @bytes = bytes

  def each
    chunk = "corundum" * (CHUNK / 8)
    (@bytes / CHUNK).times { yield chunk }
    yield chunk[0, @bytes % CHUNK]
  end
end

map "/download" do
  run lambda { |env|
    query = env["QUERY_STRING"]
    bytes = query[/bytes=(\d+)/, 1].to_i
    headers = { "content-type" => "application/octet-stream" }
    headers["content-length"] = bytes.to_s unless query.include?("chunked")
    [200, headers, Download.new(bytes)]
  }
end

# The size and the digest of what is posted, read chunk by chunk as it arrives, into one string.
run lambda { |env|
  digest = Digest::SHA256.new
  bytes = 0
  chunk = String.new
  while env["rack.input"].read(CHUNK, chunk)
    digest << chunk
    bytes += chunk.bytesize
  end
  [200, { "content-type" => "text/plain" }, ["#{digest} #{bytes}\n"]]
}
