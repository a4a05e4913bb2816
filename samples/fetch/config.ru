# Gets an address over HTTPS and shows the answer.
require "net/http"

# Libraries raise these errors for names, connections and servers that do not answer.
FAILURES = [SystemCallError, SocketError, Timeout::Error, OpenSSL::SSL::SSLError, EOFError, Net::ProtocolError].freeze

def fetch(uri)
  Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == "https", open_timeout: 5, read_timeout: 10) do |http|
    response = http.get(uri.request_uri)
    headers = response.each_header.map { |name, value| "#{name}: #{value}" }
    [200, "HTTP #{response.code} from #{uri.host}\n#{headers.join("\n")}\n\n#{response.body.to_s.bytesize} bytes\n"]
  end
rescue *FAILURES => error
  [502, "#{error.class}: #{error.message}\n"]
end

run lambda { |env|
  url = env["QUERY_STRING"][/url=([^&]+)/, 1]
  uri = URI(url ? URI.decode_www_form_component(url) : "https://example.com/")
  status, text = uri.is_a?(URI::HTTP) ? fetch(uri) : [400, "Only http and https addresses can be fetched.\n"]
  [status, { "content-type" => "text/plain; charset=utf-8" }, [text.scrub]]
}
