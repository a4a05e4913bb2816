# frozen_string_literal: true

require "bundler/installer"

module Dyno
  module Bundle
    # Refuses installations: a dyno's gems are those of its slug.
    module NoInstaller
      def install(*, **)
        raise Bundler::GemNotFound,
              "a dyno installs no gems: name them in the app's Gemfile, run `bundle lock`, and push"
      end
    end
  end
end

Bundler::Installer.singleton_class.prepend(Dyno::Bundle::NoInstaller)
