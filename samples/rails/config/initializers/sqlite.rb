# Every dyno has a copy of the files that the app wrote while it was loading. So an SQLite database with its tables and first
# posts is made here, once for each release; what a dyno writes to it afterwards is its own. Posts that last need DATABASE_URL.
Rails.application.config.after_initialize do
  database = ActiveRecord::Base.connection_db_config
  compiles_assets = ENV["RAILS_GROUPS"] == "assets"
  if database.adapter == "sqlite3" && Rails.env.production? && !compiles_assets && !File.exist?(database.database)
    ActiveRecord::Tasks::DatabaseTasks.migrate
    Rails.application.load_seed
  end
end
