# Without a database that lasts, the app makes one here, once for each release: every dyno has a copy of the files that the app
# wrote while it was loading, and what a dyno writes to its copy ends with it.
Rails.application.config.after_initialize do
  lasts = ENV.key?("DATABASE_URL") || ENV.key?("VOLUME_PATH")
  compiles_assets = ENV["RAILS_GROUPS"] == "assets"
  database = ActiveRecord::Base.connection_db_config.database
  if Rails.env.production? && !lasts && !compiles_assets && !File.exist?(database)
    ActiveRecord::Tasks::DatabaseTasks.migrate
    Rails.application.load_seed
  end
end
