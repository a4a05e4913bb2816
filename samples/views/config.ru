# Counts page views. A request only adds to a queue; a thread writes the totals to the log, between requests too.
class Views
  INTERVAL = 2

  def initialize
    @seen = Queue.new
  end

  def add(path)
    @seen << path
    # A dyno starts as a copy of the booted app, without its threads.
    @writer = Thread.new { write_totals } unless @writer&.alive?
  end

  private

  def write_totals
    loop do
      sleep INTERVAL
      totals = Array.new(@seen.size) { @seen.pop }.tally
      totals.each { |path, views| puts "#{path}: #{views} views in #{INTERVAL} s" }
    end
  end
end

VIEWS = Views.new

run ->(env) {
  VIEWS.add(env["PATH_INFO"])
  [200, { "content-type" => "text/plain" }, ["This view was counted.\n"]]
}
