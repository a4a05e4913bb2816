# frozen_string_literal: true

require "sqlite3"

# Reads and durable writes of an SQLite database. Native Ruby runs the same file to compare.
class Work
  ROWS = 10_000
  READS = 5_000
  WRITES = 100

  def initialize(path)
    @database = SQLite3::Database.new(path)
    @database.busy_timeout = 30_000
    @database.execute("pragma synchronous = full")
  end

  def prepare
    @database.execute("create table if not exists notes (id integer primary key, text text not null)")
    @database.transaction do
      @database.execute("delete from notes")
      ROWS.times { |id| @database.execute("insert into notes values (?, ?)", [id, "note #{id}"]) }
    end
    ROWS
  end

  # Returns the reads of each second, one row by its key each.
  def read
    rate(READS) { |count| @database.get_first_value("select text from notes where id = ?", [count * 7919 % ROWS]) }
  end

  # Returns the commits of each second.
  def write
    rate(WRITES) { |count| @database.execute("update notes set text = ? where id = ?", ["changed #{rand}", count]) }
  end

  private

  def rate(times)
    started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    times.times { |count| yield count }
    times / (Process.clock_gettime(Process::CLOCK_MONOTONIC) - started)
  end
end

puts Work.new(ARGV[0]).public_send(ARGV[1]) if $PROGRAM_NAME == __FILE__
