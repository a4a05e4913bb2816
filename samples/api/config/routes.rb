Rails.application.routes.draw do
  resources :books, only: %i[index show create update destroy]
  get "up" => "rails/health#show", as: :rails_health_check
end
