class PostsController < ApplicationController
  before_action :find_post, only: %i[show edit update destroy]

  def index
    @posts = Post.with_attached_file.order(id: :desc).limit(20)
  end

  def show; end

  def new
    @post = Post.new
  end

  def edit; end

  def create
    @post = Post.new(post_params)
    return render :new, status: :unprocessable_entity unless @post.save

    redirect_to @post, notice: "The post is saved."
  end

  def update
    return render :edit, status: :unprocessable_entity unless @post.update(post_params)

    redirect_to @post, notice: "The post is changed.", status: :see_other
  end

  def destroy
    @post.destroy!
    redirect_to posts_path, notice: "The post is deleted.", status: :see_other
  end

  private

  def find_post
    @post = Post.find(params[:id])
  end

  def post_params
    params.require(:post).permit(:title, :body, :file)
  end
end
