# frozen_string_literal: true

module Dyno
  # Connections that an app opens while it loads.
  module Connections
    # Closes all sockets and pipes before the app's memory is saved. An image contains no connection, and a dyno's next one
    # would get the same descriptor. Using one of these later raises the error of a closed stream, as after a fork that
    # closes what the parent has opened.
    # The standard streams and their copies, which have numbers of nodes, stay open.
    def self.close
      disconnect_databases
      ObjectSpace.each_object(IO) do |io|
        io.close unless io.is_a?(File) || io.closed? || io.fileno <= 2 || io.stat.ino.positive?
      rescue IOError, SystemCallError
        nil
      end
    end

    # Returns the database connections of Active Record in good order, as servers with several processes do before a fork.
    # The server then sees no connection that ends without a word, and SQLite's driver no open database in a copy.
    def self.disconnect_databases
      return unless defined?(::ActiveRecord::Base) && !::ActiveRecord.autoload?(:Base)

      ::ActiveRecord::Base.connection_handler.clear_all_connections!
    rescue StandardError => error
      Dyno.report(error)
    end
    private_class_method :disconnect_databases
  end
end
